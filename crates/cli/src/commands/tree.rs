//! `plimsoll tree`.

use std::fmt::Write;

use plimsoll::lock::{LockedModel, Project};
use serde_json::json;

use crate::args::Global;
use crate::exit::Result;
use crate::output;
use crate::project::Files;

pub(crate) fn run(global: &Global) -> Result<()> {
    let project = Files::find(global)?.open()?;
    let default = project.default_model().ok();
    if global.json {
        let lock = project.lock();
        return output::json(&json!({ "lock_digest": lock.digest(), "default": default, "models": lock.models() }));
    }
    output::bytes(render(&project, default).as_bytes())
}

fn render(project: &Project, default: Option<&str>) -> String {
    let mut text = format!("{} {}\n", project.file().display(), project.lock().digest());
    let models = project.lock().models();
    for (index, model) in models.iter().enumerate() {
        let last = index + 1 == models.len();
        let mark = if default == Some(model.name.as_str()) { " (default)" } else { "" };
        let branch = if last { "└──" } else { "├──" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{branch} {}{mark}: {}", model.name, headline(model));
        let stem = if last { "    " } else { "│   " };
        for (index, file) in model.files.iter().enumerate() {
            let branch = if index + 1 == model.files.len() { "└──" } else { "├──" };
            let _ = writeln!(text, "{stem}{branch} {} {} {}", file.path, output::size(file.size), file.sha256);
        }
    }
    text
}

fn headline(model: &LockedModel) -> String {
    let license = model.license.expression.as_ref().map_or("licence not declared", |expression| expression.as_str());
    let load = model.load.as_ref().map_or(String::new(), |load| format!(", quantized while loading: {load}"));
    let derived = model.derived_from.map_or(String::new(), |digest| format!(", derived from {digest}"));
    format!("{}, {license}, {}, {}{derived}{load}", model.family, model.source, model.digest)
}
