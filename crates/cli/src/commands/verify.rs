//! `plimsoll verify [NAME]…`.

use plimsoll::lock::{Load, Project};
use serde_json::{Value, json};

use crate::args::{Global, VerifyArgs};
use crate::exit::{Exit, Failure, Result};
use crate::project::Files;
use crate::{output, progress};

/// Every model is tried, so that one run shows all that is wrong.
pub(crate) fn run(global: &Global, args: &VerifyArgs) -> Result<()> {
    let project = Files::find(global)?.open()?;
    let all = || project.lock().models().iter().map(|model| model.name.to_string()).collect();
    let names = if args.names.is_empty() { all() } else { args.names.clone() };
    let results: Vec<_> = names.iter().map(|name| (name, verify(&project, name))).collect();
    if global.json {
        let models: Vec<Value> = results.iter().map(|(name, result)| to_json(name, result)).collect();
        output::json(&json!({ "lock_digest": project.lock().digest(), "models": models }))?;
    }
    let mut bad = Vec::new();
    for (name, result) in &results {
        match result {
            Ok(verified) if !global.json => output::line(&format!("{name}: ok, {verified}"))?,
            Ok(_) => {}
            Err(error) => bad.push(error.to_string()),
        }
    }
    match bad.len() {
        0 => Ok(()),
        count => {
            let failure = Failure::new(Exit::Lock, bad.join("\n"));
            Err(failure.help(format!(
                "{count} of {} failed; `plimsoll lock --check` says what changed",
                output::count(results.len(), "model")
            )))
        }
    }
}

/// What was verified.
struct Summary {
    files: usize,
    bytes: u64,
    digest: String,
    /// What loading makes of them; checked then, as it takes as long.
    load: Option<Load>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}, {}", output::count(self.files, "file"), output::size(self.bytes), self.digest)?;
        self.load.iter().try_for_each(|load| write!(f, ", quantized while loading: {load}"))
    }
}

fn verify(project: &Project, name: &str) -> Result<Summary, plimsoll::lock::Error> {
    let bar = progress::Bytes::new(name);
    let verified = project.verify(name, &|done, total| bar.set(done, total))?;
    Ok(Summary {
        files: verified.files().len(),
        bytes: verified.files().iter().map(|file| file.size).sum(),
        digest: verified.locked().map(|locked| locked.digest.to_string()).unwrap_or_default(),
        load: verified.locked().and_then(|locked| locked.load.clone()),
    })
}

fn to_json(name: &str, result: &Result<Summary, plimsoll::lock::Error>) -> Value {
    match result {
        Ok(Summary { files, bytes, digest, load }) => {
            json!({ "name": name, "ok": true, "files": files, "bytes": bytes, "digest": digest, "load": load })
        }
        Err(error) => json!({ "name": name, "ok": false, "error": error.to_string() }),
    }
}
