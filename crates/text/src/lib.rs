//! Tokenizers, chat templates and incremental detokenization.
#![forbid(unsafe_code)]

mod detokenize;
mod error;
mod stop;
mod tokenizer;

pub use detokenize::Detokenizer;
pub use error::Error;
pub use stop::{Fed, StopStrings};
pub use tokenizer::{MAX_TEXT, Special, SpecialIds, TokenKind, Tokenizer};
