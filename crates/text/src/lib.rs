//! Tokenizers, chat templates and incremental detokenization.
#![forbid(unsafe_code)]

mod detokenize;
mod end;
mod error;
mod stop;
mod template;
mod tokenizer;

pub use detokenize::Detokenizer;
pub use end::EndTokens;
pub use error::Error;
pub use stop::{Fed, StopStrings};
pub use template::{Conversation, LocalTime, Rendered, Template, Templates};
pub use tokenizer::{MAX_TEXT, Special, SpecialIds, TokenKind, Tokenizer};
