//! `cargo xtask golden [CASE...]`: remakes `goldens/` with Hugging Face transformers, in a virtual environment of its own.
//!
//! Needs `python3` and, the first time, a network. No build and no test needs either: the goldens are in the repository.

use std::io;
use std::path::Path;
use std::process::Command;

/// Makes the named cases of `xtask/golden/cases.py`, or all; `root` is the repository.
///
/// # Errors
/// When Python cannot be started or one of its steps fails; what it printed says why.
pub(crate) fn run(root: &Path, cases: &[String]) -> io::Result<()> {
    let source = root.join("xtask/golden");
    let venv = root.join("target/golden-venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        step(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    step(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(source.join("requirements.txt")),
    )?;
    step(Command::new(&python).arg(source.join("make.py")).args(cases))
}

fn step(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}
