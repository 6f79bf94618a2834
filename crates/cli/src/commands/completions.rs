//! `plimsoll completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use crate::args::{Cli, Global};
use crate::exit::Result;
use crate::output;

pub(crate) fn run(global: &Global, shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "plimsoll", &mut script);
    if global.json {
        return output::json(&json!({ "shell": shell.to_string(), "script": String::from_utf8_lossy(&script) }));
    }
    output::bytes(&script)
}
