//! The engine: from a request to a stream of events, over any backend.
//!
//! A [`Request`] becomes token ids ([`Text`]) and waits in a bounded queue ([`Local`]). One thread owns the model. Before
//! each step its scheduler drops what was cancelled, admits what fits the KV cache and plans a ragged batch; the
//! [`Step`] computes it; each sequence that has come to its end gets one more token, which its reader sees as
//! [`Event`]s of a [`Generation`].
//!
//! | to change | look in |
//! |---|---|
//! | what a request may say, and its ranges | `request.rs`, `validate.rs`, `defaults.rs` |
//! | how a token is chosen | `sampler/` |
//! | who computes what in a step | `scheduler.rs`, `scheduler/` |
//! | how tokens to come are guessed | `speculation.rs`, `draft.rs` |
//! | who holds which cache block, and what is shared | `blocks.rs` |
//! | what a reader sees, and when an answer ends | `reply.rs`, `text.rs`, `event.rs` |
//! | threads, queues, cancellation | `thread.rs`, `generation.rs` |
//! | the mathematics of a step | `forward.rs`, `runner.rs` |
//! | what `plimsoll bench` times | `bench.rs` |
//! | how much of a model a device holds | `fit.rs` |
//! | what is read from a model's files | `opened.rs`, `checkpoint.rs`, `assets.rs` |
//! | weights quantized while loading, and written as GGUF | `quantized.rs`, `export.rs`, `same.rs` |
//!
//! # Sampling
//!
//! Log-probabilities come from the raw logits. Then, in this order: ids beyond the tokenizer's vocabulary are masked;
//! `logit_bias`; `repetition_penalty` (prompt and completion); `presence_penalty` and `frequency_penalty` (completion);
//! greedy at `temperature` 0; else `temperature`, `top_k`, `top_p`, `min_p` and one draw, which depends on the seed and
//! the position alone.
#![forbid(unsafe_code)]

mod assets;
pub mod bench;
mod blocks;
mod checkpoint;
mod defaults;
mod draft;
mod error;
mod event;
mod export;
mod fit;
mod forward;
mod generate;
mod generation;
mod local;
mod opened;
mod options;
mod quantized;
mod reply;
mod request;
mod runner;
mod same;
mod sampler;
mod scheduler;
mod score;
mod speculation;
mod step;
mod text;
mod thread;
mod validate;

#[cfg(test)]
mod fake;

pub use checkpoint::Checkpoint;
pub use defaults::Defaults;
pub use error::Error;
pub use event::{Alternative, Event, FinishReason, Finished, Timings, Token, Usage};
pub use export::Exported;
pub use fit::{Placed, Sizes};
pub use generate::{Generate, Health, ModelInfo};
pub use generation::{Blocking, Events, Generation};
pub use local::{Bundle, Local};
pub use opened::{Opened, Progress, open_weights};
pub use options::{KvCache, Options};
pub use request::{Chat, Prompt, Request, Sampling};
pub use runner::Runner;
pub use score::{Scores, score};
pub use speculation::{MAX_DRAFT, MAX_NGRAM, Speculation};
pub use step::{Logits, Step};
pub use text::Text;
pub use validate::{MAX_LOGPROBS, MAX_STOPS};
