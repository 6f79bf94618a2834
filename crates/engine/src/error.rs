//! What can go wrong between a request and its last event.

use std::sync::Arc;

/// Why a request was refused or a generation ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request parameter or an engine option has a value outside its range.
    #[error("{param}: found {found}, expected {expected}")]
    Invalid {
        /// Name of the parameter, as in [`Request`](crate::Request).
        param: &'static str,
        /// The value given.
        found: String,
        /// The values allowed.
        expected: String,
    },

    /// The model or the engine behind it cannot honour a parameter.
    #[error("{param} is not supported by {by}")]
    Unsupported {
        /// Name of the parameter.
        param: &'static str,
        /// Who cannot honour it.
        by: String,
    },

    /// The prompt could not be rendered or tokenized.
    #[error(transparent)]
    Text(#[from] plimsoll_text::Error),

    /// The prompt leaves no room in the model's context for a single token.
    #[error("prompt: found {prompt} tokens, expected fewer than the context of {context}")]
    PromptTooLong {
        /// Tokens in the prompt.
        prompt: usize,
        /// Longest sequence of the model, prompt and completion together.
        context: usize,
    },

    /// The request could never fit the KV cache, even with nothing else running.
    #[error(
        "KV cache: {prompt} prompt tokens and up to {max_tokens} new ones need {needed} blocks of {block_tokens} tokens \
         ({needed_bytes} bytes), the cache has {blocks} ({bytes} bytes)"
    )]
    CacheTooSmall {
        /// Tokens in the prompt.
        prompt: usize,
        /// New tokens to reserve for.
        max_tokens: usize,
        /// Blocks the request needs.
        needed: usize,
        /// Bytes the request needs.
        needed_bytes: u64,
        /// Blocks there are.
        blocks: usize,
        /// Bytes there are.
        bytes: u64,
        /// Tokens in a block.
        block_tokens: usize,
    },

    /// The queue is full; try again when a request has been admitted.
    #[error("busy: {waiting} requests wait already, the queue holds {limit}")]
    Busy {
        /// Requests waiting.
        waiting: usize,
        /// Requests that may wait.
        limit: usize,
    },

    /// The model computed a logit that is NaN or infinite.
    #[error("logits at position {position}: found {value} for token {token}, expected a finite number")]
    NotFinite {
        /// Position in the sequence of the token that was to be chosen.
        position: usize,
        /// Token id of the first such logit.
        token: usize,
        /// The logit.
        value: f32,
    },

    /// Biases and masks leave no token to choose.
    #[error("logit_bias: every token at position {position} is banned, expected at least one that is not")]
    NothingToChoose {
        /// Position in the sequence of the token that was to be chosen.
        position: usize,
    },

    /// A step of the model failed; every sequence that took part in it ends with this error.
    #[error("the model's step failed: {0}")]
    Step(#[source] Arc<Error>),

    /// A step returned another number of logits than it was asked for.
    #[error("the model's step returned {found} logits, expected {expected}")]
    StepShape {
        /// Logits returned.
        found: usize,
        /// Rows asked for times vocabulary.
        expected: usize,
    },

    /// Text was given to, or wanted from, a model that came without a tokenizer.
    #[error(
        "tokenizer: found none, expected tokenizer.json or a GGUF with tokenizer.ggml.tokens; token ids work without"
    )]
    NoTokenizer,

    /// The files are not, or no longer, what was verified.
    #[error(transparent)]
    Lock(#[from] plimsoll_lock::Error),

    /// The weight files could not be read, or do not hold what the configuration describes.
    #[error(transparent)]
    Formats(#[from] plimsoll_formats::Error),

    /// The configuration describes no model this build runs.
    #[error(transparent)]
    Model(#[from] plimsoll_model::Error),

    /// The backend refused the model or a step, or failed.
    #[error(transparent)]
    Backend(#[from] plimsoll_backend::Error),

    /// A model that was written in another container would not be the same model when it is read.
    #[error("GGUF cannot hold this model: its {what} would be read back as another")]
    NotTheSame {
        /// What would differ.
        what: &'static str,
    },

    /// The engine thread ended by a panic; the engine answers no more requests.
    #[error("the engine failed: {reason}")]
    Failed {
        /// What the panic said.
        reason: String,
    },

    /// The engine was dropped.
    #[error("the engine was stopped")]
    Stopped,

    /// The engine thread could not be started.
    #[error("cannot start the engine thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl Error {
    /// An [`Error::Invalid`].
    pub(crate) fn invalid(param: &'static str, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid { param, found: found.to_string(), expected: expected.into() }
    }
}
