use crate::{Memory, Need};

/// Why a backend could not load a model or run a step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights could not be read.
    #[error(transparent)]
    Weights(#[from] plimsoll_formats::Error),
    /// The backend lacks something the model needs; reported while loading, never later.
    #[error("the {backend} backend does not support {what}")]
    Unsupported {
        /// Name of the backend.
        backend: &'static str,
        /// What it lacks.
        what: String,
    },
    /// A plan or a buffer that does not fit the model or the cache; nothing was computed.
    #[error("{what} is {found}, expected {expected}")]
    Shape {
        /// Which argument.
        what: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The device's memory does not hold the model; nothing was loaded.
    #[error(
        "the model takes {need} on the {backend} backend, which has {memory}; less with a smaller KV cache, or with some \
         layers elsewhere"
    )]
    Memory {
        /// Name of the backend.
        backend: &'static str,
        /// What the model takes there.
        need: Need,
        /// What there is.
        memory: Memory,
    },
    /// The device or its library failed.
    #[error("the {backend} backend failed: {reason}")]
    Device {
        /// Name of the backend.
        backend: &'static str,
        /// What it says.
        reason: String,
    },
}

impl Error {
    pub(crate) fn shape(what: impl ToString, found: impl ToString, expected: impl ToString) -> Self {
        Self::Shape { what: what.to_string(), found: found.to_string(), expected: expected.to_string() }
    }
}
