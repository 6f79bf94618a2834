//! The plimsoll command line.
//!
//! | to change | look in |
//! |---|---|
//! | flags and help | `args.rs`, `sampling.rs` for those of requests, `device.rs` for what computes, `commands/bench/args.rs` for those of `bench` |
//! | what a subcommand does | `commands/` |
//! | exit codes, and how errors are shown | `exit.rs` |
//! | where models.toml and models.lock are found | `project.rs` |
#![forbid(unsafe_code)]

mod answer;
mod args;
mod chat;
mod commands;
mod device;
mod exit;
mod input;
mod interrupt;
mod machine;
mod output;
mod progress;
mod project;
mod sampling;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.global.json),
    }
}

/// Help and mistakes as clap shows them; mistakes as an object where `--json` is among the words.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|word| word == "--json") {
        return Failure::new(Exit::Usage, error.to_string().trim_end()).report(true);
    }
    error.exit()
}
