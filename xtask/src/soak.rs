//! Long runs that CI has no time for: every fuzz target for some minutes, and the plain crates under Miri.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// `cargo xtask soak [--minutes N] [--allow-missing] [TARGET..]`; no target means all of them and Miri.
struct Options {
    minutes: f64,
    allow_missing: bool,
    targets: Vec<String>,
}

/// A command, the one that shows whether its tool is here, and how to get the tool.
struct Check {
    name: String,
    run: Vec<String>,
    probe: &'static [&'static str],
    install: &'static str,
}

/// Crates and tests that Miri can interpret in minutes: it maps no files and knows no vector instructions.
const MIRI: &[&[&str]] = &[
    &["--package", "plimsoll-model", "--lib"],
    &["--package", "plimsoll-formats", "--test", "blocks", "--", "decode"],
];

pub fn soak(root: &Path, args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let (mut failed, mut missing) = (Vec::new(), Vec::new());
    for check in checks(root, &options)? {
        if !succeeds(Command::new("cargo").args(check.probe).stdout(Stdio::null()).stderr(Stdio::null())) {
            println!("soak: {} skipped; get its tool with: {}", check.name, check.install);
            missing.push(check.name);
            continue;
        }
        println!("soak: {}: cargo {}", check.name, check.run.join(" "));
        let mut command = Command::new("cargo");
        // Tests under Miri read goldens; a fuzzer's crash is kept in fuzz/artifacts.
        command.current_dir(root).args(&check.run).env("MIRIFLAGS", "-Zmiri-disable-isolation");
        if !succeeds(&mut command) {
            failed.push(check.name);
        }
    }
    if !failed.is_empty() {
        return Err(format!("failed: {}", failed.join(", ")).into());
    }
    if !missing.is_empty() && !options.allow_missing {
        return Err(format!("skipped: {} (--allow-missing accepts that)", missing.join(", ")).into());
    }
    println!("soak: ok");
    Ok(())
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { minutes: 10.0, allow_missing: false, targets: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--minutes" => options.minutes = args.next().ok_or("--minutes needs a number")?.parse()?,
                "--allow-missing" => options.allow_missing = true,
                flag if flag.starts_with('-') => return Err(format!("soak knows no {flag}").into()),
                target => options.targets.push(target.into()),
            }
        }
        Ok(options)
    }
}

fn checks(root: &Path, options: &Options) -> Result<Vec<Check>> {
    let fuzz = root.join("fuzz");
    let mut known = Vec::new();
    for entry in std::fs::read_dir(fuzz.join("fuzz_targets"))? {
        known.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    known.sort();
    let all = options.targets.is_empty();
    let targets = if all { &known } else { &options.targets };
    let mut checks = Vec::new();
    for target in targets {
        if !known.contains(target) {
            return Err(format!("no fuzz target is called {target}; there are {}", known.join(", ")).into());
        }
        let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
        std::fs::create_dir_all(root.join(&corpus))?;
        let seconds = format!("-max_total_time={}", (options.minutes * 60.0) as u64);
        // What lives as long as the process is no leak, but is reported as one at its end.
        let bounds = [seconds.as_str(), "-timeout=10", "-rss_limit_mb=1024", "-detect_leaks=0"];
        let run = ["+nightly", "fuzz", "run", target, &corpus, &seeds, "--"].into_iter().chain(bounds);
        checks.push(Check {
            name: format!("fuzz {target}"),
            run: run.map(String::from).collect(),
            probe: &["+nightly", "fuzz", "--version"],
            install: "rustup toolchain install nightly && cargo install cargo-fuzz --locked",
        });
    }
    checks.extend(MIRI.iter().filter(|_| all).map(|arguments| Check {
        name: format!("miri {}", arguments[1]),
        run: ["+nightly", "miri", "test"].iter().chain(*arguments).map(ToString::to_string).collect(),
        probe: &["+nightly", "miri", "--version"],
        install: "rustup toolchain install nightly --component miri,rust-src",
    }));
    Ok(checks)
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}
