//! The request option that has tokens guessed before they are chosen.

use crate::Error;

/// Tokens a request may have guessed at once.
pub const MAX_DRAFT: usize = 32;
/// Tokens a request may want to have occurred before.
pub const MAX_NGRAM: usize = 8;

/// How tokens to come are guessed, so that one step can compute several of them.
///
/// The step that computes a sequence's last token computes the guesses behind it as well. Tokens are then chosen as they
/// always are, from the logits after the tokens before them, for as long as the choice is what was guessed; the first one
/// that is not ends the step. So the answer does not change, bit for bit on a backend whose logits do not depend on how
/// the work is cut; a wrong guess costs time only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Speculation {
    /// The last tokens occurred earlier in the prompt or the answer: what followed them there is the guess
    /// (LLMA, arXiv 2304.04487; prompt lookup decoding). Pays where an answer repeats what it was given: edits,
    /// extraction, quotations, code.
    PromptLookup {
        /// Tokens guessed at once, 1 to [`MAX_DRAFT`]; the engine's [`draft_tokens`](crate::Options::draft_tokens),
        /// its other sequences and `max_tokens` may leave room for fewer.
        draft: usize,
        /// Last tokens that must have occurred before, 1 to [`MAX_NGRAM`]. Of several places the one where most tokens
        /// agree is taken, then the latest.
        ngram: usize,
    },
}

impl Speculation {
    /// Three guesses, because a step of four tokens is about the widest that a processor computes in the time of one;
    /// after two tokens in a row, because a single one follows almost any other.
    pub const PROMPT_LOOKUP: Self = Self::PromptLookup { draft: 3, ngram: 2 };

    /// # Errors
    /// [`Error::Invalid`] for a number out of its range.
    pub(crate) fn validate(self) -> Result<(), Error> {
        let Self::PromptLookup { draft, ngram } = self;
        for (param, found, most) in [("draft", draft, MAX_DRAFT), ("ngram", ngram, MAX_NGRAM)] {
            if !(1..=most).contains(&found) {
                return Err(Error::invalid(param, found, format!("1 to {most}")));
            }
        }
        Ok(())
    }
}
