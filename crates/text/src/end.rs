//! The tokens that end a generation.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::Error;
use crate::tokenizer::{TokenKind, Tokenizer};

/// Texts of tokens that end a turn in one family or another.
const KNOWN: [&str; 16] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<eos>",
    "<turn|>",
    "<｜end▁of▁sentence｜>",
];

/// Known texts that mean something else where all of the others exist: in gpt-oss `<|end|>` ends one of several
/// messages, in Gemma 4 `</s>` is text.
const NOT_BESIDE: [(&str, &[&str]); 2] = [("<|end|>", &["<|return|>", "<|call|>"]), ("</s>", &["<|tool_response>"])];

/// The ids that end a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndTokens {
    ids: BTreeSet<u32>,
}

impl EndTokens {
    /// What the vocabulary says: EOS, end of turn and end of message, and control tokens known to end a turn.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let special = tokenizer.special_ids();
        let mut end = Self { ids: [special.eos, special.eot, special.eom].into_iter().flatten().collect() };
        end.add_known(tokenizer);
        end
    }

    /// Those of which the texts alone tell.
    pub(crate) fn known(tokenizer: &Tokenizer) -> Self {
        let mut end = Self::default();
        end.add_known(tokenizer);
        end
    }

    fn add_known(&mut self, tokenizer: &Tokenizer) {
        let control = |text: &str| {
            let kind = |id: &u32| matches!(tokenizer.kind(*id), Some(TokenKind::Control | TokenKind::UserDefined));
            tokenizer.id(text).filter(kind)
        };
        self.ids.extend(KNOWN.iter().filter_map(|text| control(text)));
        for (text, others) in NOT_BESIDE {
            if others.iter().all(|other| control(other).is_some()) {
                control(text).map(|id| self.ids.remove(&id));
            }
        }
    }

    /// Adds `eos_token_id`, an id or a list of them, of a `generation_config.json` or `config.json`. `file` is for
    /// messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is not JSON or no id. An id past the vocabulary is kept: it never comes.
    pub fn add_config(&mut self, file: &str, config: &[u8]) -> Result<(), Error> {
        let malformed = |found: &dyn std::fmt::Display, expected: &str| {
            Error::malformed(file, "eos_token_id", found, expected.to_owned())
        };
        let config: Value = serde_json::from_slice(config).map_err(|error| malformed(&error, "JSON"))?;
        let ids = match config.get("eos_token_id") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(ids)) => ids.as_slice(),
            Some(id) => std::slice::from_ref(id),
        };
        for id in ids {
            let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let number = number.ok_or_else(|| malformed(id, "a token id or a list of them"))?;
            self.add(number);
        }
        Ok(())
    }

    /// Adds an id.
    pub fn add(&mut self, id: u32) {
        self.ids.insert(id);
    }

    /// Whether a token ends the generation.
    pub fn contains(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    /// All ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ids.iter().copied()
    }
}
