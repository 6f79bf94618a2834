//! `plimsoll quantize NAME OUT.gguf`.

use plimsoll::lock::Project;
use plimsoll::{Opened, Recipe, Settings};
use serde_json::json;

use crate::args::{Global, QuantizeArgs};
use crate::exit::{Exit, Failure, Result};
use crate::project::Files;
use crate::{output, progress};

pub(crate) fn run(global: &Global, args: &QuantizeArgs) -> Result<()> {
    let project = Files::find(global)?.open()?;
    let opened = open(&project, &args.name)?;
    let recipe = args.to.or(opened.recipe()).ok_or_else(no_recipe)?;
    if args.out.exists() && !args.force {
        let message = format!("{}: is there already", args.out.display());
        return Err(Failure::new(Exit::Failure, message).help("--force replaces it"));
    }
    let mut settings = Settings::default();
    settings.cpu.threads = args.threads;
    let bar = progress::Bytes::new("quantizing");
    let written = settings.quantize(&opened, recipe, &args.out, args.force, &|done, total| bar.set(done, total))?;
    drop(bar);
    let bytes = args.out.metadata().map_err(Failure::io(args.out.display()))?.len();
    report(global, args, recipe, &written, bytes)
}

fn open(project: &Project, name: &str) -> Result<Opened> {
    let bar = progress::Bytes::new("verifying");
    Ok(Opened::new(project.verify(name, &|done, total| bar.set(done, total))?)?)
}

fn no_recipe() -> Failure {
    Failure::new(Exit::Usage, "no recipe: models.toml says no `quantize` for this model")
        .help("name one by --to, such as --to q4_k_m")
}

fn report(
    global: &Global,
    args: &QuantizeArgs,
    recipe: &Recipe,
    written: &plimsoll::Exported,
    bytes: u64,
) -> Result<()> {
    let (file, id) = (args.out.display().to_string(), recipe.id());
    if global.json {
        return output::json(&json!({
            "model": args.name,
            "file": file,
            "recipe": id,
            "result": written.result,
            "tensors": written.tensors,
            "bytes": bytes,
        }));
    }
    let (tensors, size) = (output::count(written.tensors, "tensor"), output::size(bytes));
    output::line(&format!("{file}: {id}, {tensors}, {size}, {}", written.result))
}
