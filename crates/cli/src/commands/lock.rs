//! `plimsoll lock [--check]`.

use plimsoll::lock::{Change, Lock, Manifest, generate};
use plimsoll::{Opened, Verified};
use serde_json::json;

use crate::args::{Global, LockArgs};
use crate::exit::{Exit, Failure, Result};
use crate::project::Files;
use crate::{output, progress};

pub(crate) fn run(global: &Global, args: &LockArgs) -> Result<()> {
    let files = Files::find(global)?;
    let manifest = Manifest::read(&files.manifest)?;
    let old = if files.lock.exists() { Some(Lock::read(&files.lock)) } else { None };
    let bar = progress::Bytes::new("hashing");
    let new = generate(&manifest, &|done, total| bar.set(done, total), describe)?;
    drop(bar);
    // A lock that cannot be read is written anew, but never passes a check.
    let old = match old.transpose() {
        Err(error) if args.check => return Err(error.into()),
        old => old.ok().flatten(),
    };
    let changes = old.as_ref().map_or_else(|| added(&new), |old| old.changes(&new));
    let same = old.as_ref().is_some_and(|old| old.text() == new.text());
    if global.json {
        let file = files.lock.display().to_string();
        output::json(
            &json!({ "file": file, "lock_digest": new.digest(), "changed": !same, "written": !same && !args.check, "changes": changes }),
        )?;
    } else {
        changes.iter().try_for_each(|change| output::line(&change.to_string()))?;
    }
    if same {
        return Ok(());
    }
    if args.check {
        return Err(Failure::new(Exit::Lock, format!("{} would change", files.lock.display()))
            .help("`plimsoll lock` writes it"));
    }
    Ok(new.write(&files.lock)?)
}

fn describe(model: Verified) -> Result<plimsoll::lock::Described, plimsoll::core::Error> {
    let opened = Opened::new(model)?;
    let bar = opened.recipe().map(|_| progress::Bytes::new("quantizing"));
    opened.describe(&|done, total| bar.iter().for_each(|bar| bar.set(done, total)))
}

/// Without an old lock everything is new.
fn added(new: &Lock) -> Vec<Change> {
    Lock::new(Vec::new()).map(|empty| empty.changes(new)).unwrap_or_default()
}
