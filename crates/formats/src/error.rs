//! The errors of this crate.

use std::fmt::Display;

/// Why a weight file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file breaks its format's rules, or lies about its contents.
    #[error("{file}: {field}: found {found}, expected {expected}")]
    Malformed {
        /// Name of the file.
        file: String,
        /// What in the file: a header field, a key, a tensor.
        field: String,
        /// What is there.
        found: String,
        /// What the format demands.
        expected: String,
    },
    /// The file is sound as far as it was read, but uses something this crate does not implement.
    #[error("{file}: {field}: {found} is not supported, expected {expected}")]
    Unsupported {
        /// Name of the file.
        file: String,
        /// What in the file: a header field, a key, a tensor.
        field: String,
        /// What is there.
        found: String,
        /// What is implemented.
        expected: String,
    },
    /// The files handed over do not make up one checkpoint.
    #[error("checkpoint: found {found}, expected {expected}")]
    Files {
        /// The files that are there.
        found: String,
        /// The files that should be there.
        expected: String,
    },
    /// A caller's slice does not have the length its shape asks for.
    #[error("{what}: found {found}, expected {expected}")]
    Length {
        /// Which slice or dimension.
        what: String,
        /// Its length.
        found: usize,
        /// The length, or the bound, it should have.
        expected: String,
    },
    /// A block type that can be decoded only.
    #[error("quantizing to {block} is not supported, expected one of {}", crate::blocks::encoders())]
    NoEncoder {
        /// Name of the block type.
        block: &'static str,
    },
    /// Reading, mapping or writing failed.
    #[error("{file}: {source}")]
    Io {
        /// Name of the file.
        file: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn malformed(file: &str, field: impl Display, found: impl Display, expected: impl Display) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            field: field.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(crate) fn unsupported(file: &str, field: impl Display, found: impl Display, expected: impl Display) -> Self {
        Self::Unsupported {
            file: file.to_owned(),
            field: field.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(crate) fn files(found: impl Display, expected: impl Display) -> Self {
        Self::Files { found: found.to_string(), expected: expected.to_string() }
    }

    pub(crate) fn length(what: impl Display, found: usize, expected: impl Display) -> Self {
        Self::Length { what: what.to_string(), found, expected: expected.to_string() }
    }
}
