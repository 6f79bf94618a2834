//! A quantized copy of a model, on disk.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use plimsoll_engine::{Exported, Opened, Progress};
use plimsoll_formats::Recipe;
use plimsoll_lock::Verified;

use crate::{Error, Result, Settings};

impl Settings {
    /// Writes a model to `path` as one GGUF file, its weights quantized by `recipe` on the threads of
    /// [`cpu`](Self::cpu). With `overwrite`, over a file that is there.
    ///
    /// The file is written beside `path`, read back, held against the model, and then gets its name: what is there is
    /// whole.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written, or is there already; [`Error::Engine`] for a model that GGUF cannot
    /// hold or that is quantized already.
    pub fn quantize(
        &self,
        opened: &Opened,
        recipe: &'static Recipe,
        path: &Path,
        overwrite: bool,
        progress: Progress<'_>,
    ) -> Result<Exported> {
        let refuse = |reason: &str| Err(Error::Output { path: path.into(), reason: reason.into() });
        let Some(stem) = path.file_stem().filter(|_| path.extension().is_some_and(|end| end == "gguf")) else {
            return refuse("expected a name that ends in .gguf");
        };
        if !overwrite && path.symlink_metadata().is_ok() {
            return refuse("is there already");
        }
        let part = path.with_file_name(format!(".{}.{}.part.gguf", stem.to_string_lossy(), std::process::id()));
        let written = write(opened, recipe, self.cpu.threads(), &part, progress)
            .and_then(|exported| fs::rename(&part, path).map(|()| exported).map_err(output(path)));
        if written.is_err() {
            // Nothing is lost if it cannot be removed; the first error is what a person needs.
            let _ = fs::remove_file(&part);
        }
        written
    }
}

fn write(
    opened: &Opened,
    recipe: &'static Recipe,
    threads: usize,
    part: &Path,
    progress: Progress<'_>,
) -> Result<Exported> {
    let file = File::create_new(part).map_err(output(part))?;
    let exported = opened.export(recipe, threads, &part.display().to_string(), BufWriter::new(&file), progress)?;
    file.sync_all().map_err(output(part))?;
    opened.check_copy(&Opened::new(Verified::unlocked(part)?)?)?;
    Ok(exported)
}

fn output(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::Output { path: path.into(), reason: error.to_string() }
}
