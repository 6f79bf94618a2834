//! One file a subcommand.

mod bench;
mod completions;
mod doctor;
mod lock;
mod quantize;
mod render;
mod run;
mod score;
mod tokenize;
mod tree;
mod verify;

use crate::args::{Cli, Command};
use crate::exit::Result;

pub(crate) use bench::BenchArgs;
pub(crate) use run::conversation;

pub(crate) fn run(cli: &Cli) -> Result<()> {
    let global = &cli.global;
    match &cli.command {
        Command::Run(args) => run::run(global, args),
        Command::Score(args) => score::run(global, args),
        Command::Bench(args) => bench::run(global, args),
        Command::Tokenize(args) => tokenize::run(global, args),
        Command::Render(args) => render::run(global, args),
        Command::Lock(args) => lock::run(global, args),
        Command::Verify(args) => verify::run(global, args),
        Command::Quantize(args) => quantize::run(global, args),
        Command::Tree => tree::run(global),
        Command::Doctor => doctor::run(global),
        Command::Completions { shell } => completions::run(global, *shell),
    }
}
