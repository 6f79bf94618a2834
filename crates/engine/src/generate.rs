//! The one trait that applications program against.

use crate::{Error, Generation, Request};

/// A model that answers requests, wherever it runs. Object safe: hold it as `Arc<dyn Generate>`.
pub trait Generate: Send + Sync {
    /// What the model is.
    fn info(&self) -> &ModelInfo;

    /// Enqueues a request. Never waits for the model and never panics.
    ///
    /// # Errors
    /// Anything that can be known before the first token: a parameter out of range or unsupported, a prompt that does
    /// not fit, a full queue.
    fn start(&self, request: Request) -> Result<Generation, Error>;

    /// Prompt tokens of a request, as [`start`](Self::start) would count them.
    ///
    /// # Errors
    /// A prompt that cannot be rendered or encoded.
    fn count(&self, request: &Request) -> Result<usize, Error>;

    /// How the model is doing.
    fn health(&self) -> Health;
}

/// What a model is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// Name in the lock, or the path it was loaded from.
    pub name: String,
    /// Family, such as `llama`.
    pub family: String,
    /// Longest sequence, prompt and completion together, in tokens.
    pub context: usize,
    /// Token ids the model computes logits for.
    pub vocab: usize,
    /// Parameters.
    pub parameters: u64,
    /// Where it runs, such as `candle-cpu`.
    pub backend: String,
    /// Which layers run where, if not all on one backend.
    pub placement: Option<String>,
    /// Digest of its lock entry; none if it did not come from a lock.
    pub lock_digest: Option<String>,
    /// Loaded from a path, round the lock.
    pub unlocked: bool,
}

/// How a model is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Why no request is answered any more, if so.
    pub failed: Option<String>,
    /// Requests in the batch.
    pub running: usize,
    /// Requests waiting for room in it.
    pub waiting: usize,
    /// KV cache blocks there are.
    pub blocks: usize,
    /// Of these, blocks that a new request could have.
    pub blocks_available: usize,
}
