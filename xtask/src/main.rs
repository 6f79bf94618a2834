//! Project chores.
//!
//! - `cargo xtask train [NAME..]` trains the demo models, from their checkpoints in `target/train` if there are any, and
//!   writes them to `models`; `cargo xtask export [NAME..]` writes what the checkpoints hold so far.
//! - `cargo xtask eval [--model NAME]..` examines the files in `models`.
//! - `cargo xtask golden [CASE..]` remakes the goldens; `cargo xtask soak` fuzzes and interprets for long.
//! - `cargo xtask kernels [--check]` compiles the CUDA kernels for every GPU.
//! - `cargo xtask synth SHAPE TYPE` writes a file of random weights in the shape of a published model, to measure speed on.
#![allow(unreachable_pub)]

mod eval;
mod golden;
mod kernels;
mod rng;
mod soak;
mod synth;
mod tasks;
mod train;

use std::path::Path;

use train::export::export;
use train::recipe::{RECIPES, Recipe};
use train::run::train;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: cargo xtask (train | export | eval | golden | kernels | soak | synth) [ARGUMENT..]";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask lies in no repository")?;
    let (command, args) = args.split_first().ok_or(USAGE)?;
    match command.as_str() {
        "train" => {
            recipes(args)?.into_iter().try_for_each(|recipe| train(root, recipe).and_then(|()| export(root, recipe)))
        }
        "export" => recipes(args)?.into_iter().try_for_each(|recipe| export(root, recipe)),
        "eval" => recipes(args)?.into_iter().try_for_each(|recipe| eval::eval(root, recipe)),
        "golden" => Ok(golden::run(root, args)?),
        "kernels" => kernels::kernels(root, args),
        "soak" => soak::soak(root, args),
        "synth" => synth::synth(root, args),
        _ => Err(USAGE.into()),
    }
}

/// The named demo models, or all.
fn recipes(names: &[String]) -> Result<Vec<&'static Recipe>> {
    if names.is_empty() {
        return Ok(RECIPES.iter().collect());
    }
    let names = names.iter().filter(|name| *name != "--model");
    names.map(|name| Recipe::named(name).ok_or_else(|| format!("no demo model is called {name}").into())).collect()
}
