//! Consistency of the tokenizer's keys: lengths of the parallel arrays and ids of the special tokens.

use super::{Array, Metadata, Value};
use crate::Error;

const TOKENS: &str = "tokenizer.ggml.tokens";
const PARALLEL: [&str; 2] = ["tokenizer.ggml.scores", "tokenizer.ggml.token_type"];
const PREFIX: &str = "tokenizer.ggml.";
const ID_SUFFIX: &str = "_token_id";
/// Longest token in bytes (64 KiB).
const MAX_TOKEN: usize = 64 << 10;

/// Checks the vocabulary, if the file has one.
pub(super) fn check(metadata: &Metadata) -> Result<(), Error> {
    let Some(tokens) = metadata.strings(TOKENS)? else { return Ok(()) };
    let malformed = |key: &str, found: String, expected: String| {
        Error::malformed(metadata.file(), format_args!("key `{key}`"), found, expected)
    };
    if let Some((id, token)) = tokens.iter().enumerate().find(|(_, token)| token.len() > MAX_TOKEN) {
        return Err(malformed(TOKENS, format!("token {id} of {} bytes", token.len()), format!("at most {MAX_TOKEN}")));
    }
    for key in PARALLEL {
        if let Some(len) = metadata.get(key).and_then(array).map(Array::len).filter(|&len| len != tokens.len()) {
            return Err(malformed(key, format!("{len} elements"), format!("one for each of {} tokens", tokens.len())));
        }
    }
    for (key, _) in metadata.iter().filter(|(key, _)| key.starts_with(PREFIX) && key.ends_with(ID_SUFFIX)) {
        let id = metadata.int(key)?.unwrap_or_default();
        if usize::try_from(id).map_or(true, |id| id >= tokens.len()) {
            return Err(malformed(key, format!("id {id}"), format!("an id below {}", tokens.len())));
        }
    }
    Ok(())
}

fn array(value: &Value) -> Option<&Array> {
    match value {
        Value::Array(array) => Some(array),
        _ => None,
    }
}
