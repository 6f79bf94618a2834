/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model could not be found, verified, loaded or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The lock, or the files it names.
    #[error(transparent)]
    Lock(#[from] plimsoll_lock::Error),
    /// The model, or a request to it.
    #[error(transparent)]
    Engine(#[from] plimsoll_engine::Error),
    /// The device.
    #[error(transparent)]
    Device(#[from] plimsoll_backend::Error),
    /// A file could not be written.
    #[error("{}: {reason}", path.display())]
    Output {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// The thread that loads a model could not be started.
    #[error("cannot start a thread to load the model: {0}")]
    Thread(#[source] std::io::Error),
    /// Loading panicked in its thread.
    #[error("loading the model panicked")]
    Panicked,
}
