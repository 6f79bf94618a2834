//! What can go wrong between a name in `models.toml` and verified bytes.

use std::path::{Path, PathBuf};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every message names the file and what was found; where something was expected, that too.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `models.toml` or `models.lock` says something that cannot be; `place` is `line:column` or the entry meant.
    #[error("{}: {place}: {message}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// `line:column`, or the model and file entry.
        place: String,
        /// What was found and what was expected.
        message: String,
    },
    /// A model was asked for that the file does not have.
    #[error("{}: there is no model `{name}`; it has {}", file.display(), listed(known))]
    UnknownModel {
        /// The file that was searched.
        file: PathBuf,
        /// The name asked for.
        name: String,
        /// The names it has.
        known: Vec<String>,
    },
    /// No model was named, and nothing says which one is meant.
    #[error("{}: no `default` names a model; it has {}: name one", file.display(), listed(known))]
    NoDefault {
        /// The file that was searched.
        file: PathBuf,
        /// The names it has.
        known: Vec<String>,
    },
    /// `models.toml` was edited after `models.lock` was written.
    #[error("model `{model}`: {field} is {found} in models.toml and {expected} in models.lock; run `plimsoll lock`")]
    Stale {
        /// The model.
        model: String,
        /// What differs.
        field: &'static str,
        /// What the lock says.
        expected: String,
        /// What the manifest says.
        found: String,
    },
    /// A file of a model is not what the lock says.
    #[error("model `{model}`, file `{file}`: {field} is {found}, the lock expects {expected}")]
    Mismatch {
        /// The model.
        model: String,
        /// The file, relative to the model.
        file: String,
        /// `size`, `sha256` or `chunk N of M`.
        field: String,
        /// What the lock says.
        expected: String,
        /// What was found on disk.
        found: String,
    },
    /// A file of a model cannot be taken: missing, a link, a folder, a device, an unusable name.
    #[error("model `{model}`, file `{file}`: {reason}")]
    File {
        /// The model.
        model: String,
        /// The file, relative to the model.
        file: String,
        /// Why.
        reason: String,
    },
    /// Weights that were quantized while loading are not what the lock says.
    #[error("model `{model}`, quantized while loading: {field} is {found}, the lock expects {expected}")]
    Quantized {
        /// The model.
        model: String,
        /// `recipe` or `result`.
        field: &'static str,
        /// What the lock says.
        expected: String,
        /// What this build makes.
        found: String,
    },
    /// A file was written to while it was being read.
    #[error("model `{model}`, file `{file}`: changed while it was being read")]
    ChangedWhileRead {
        /// The model.
        model: String,
        /// The file, relative to the model.
        file: String,
    },
    /// No file is left to lock or to open.
    #[error("model `{model}`: {}: {reason}", path.display())]
    NoFiles {
        /// The model.
        model: String,
        /// Where its files were looked for.
        path: PathBuf,
        /// What was missing.
        reason: String,
    },
    /// The files are there, but the caller could not make a model of them.
    #[error("model `{model}`: {source}")]
    Describe {
        /// The model.
        model: String,
        /// The caller's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn invalid(file: &Path, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { file: file.to_owned(), place: place.into(), message: message.into() }
    }

    pub(crate) fn file(model: &str, file: &str, reason: impl Into<String>) -> Self {
        Self::File { model: model.into(), file: file.into(), reason: reason.into() }
    }

    /// A TOML error as `file:line:column`: its own rendering repeats the line, which may be a megabyte.
    pub(crate) fn toml(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let place = match error.span() {
            Some(span) => place(text, span.start),
            None => "whole file".into(),
        };
        Self::invalid(file, place, error.message())
    }
}

/// `line:column`, both from 1, of a byte offset.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("{line}:{column}")
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
