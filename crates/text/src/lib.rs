//! Tokenizers, chat templates and incremental detokenization.
#![forbid(unsafe_code)]
