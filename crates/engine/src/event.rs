//! What a generation yields.

use std::time::Duration;

/// One thing that happened to a request, in the order it happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Progress through the prompt; the first one says the request has been admitted.
    Prefill {
        /// Prompt tokens whose keys and values are in the cache.
        done: usize,
        /// Prompt tokens.
        total: usize,
        /// Prompt tokens that were found there.
        cached: usize,
    },
    /// A token was chosen. Its text follows in a later [`Event::Text`], when it is complete and cannot be part of a
    /// stop string any more.
    Token(Token),
    /// More of the answer: whole characters, never part of a stop string.
    Text(String),
    /// The last event.
    Finished(Finished),
}

/// A chosen token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Token {
    /// Token id.
    pub id: u32,
    /// What it stands for, control tokens as their text; a part of a character is possible.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability under the model, before temperature, penalties and biases; present if
    /// the request asked for log-probabilities.
    pub logprob: Option<f32>,
    /// The most probable tokens, most probable first, equal ones by id; as many as the request asked for.
    pub top: Vec<Alternative>,
}

/// A token that might have been chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alternative {
    /// Token id.
    pub id: u32,
    /// What it stands for.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability under the model.
    pub logprob: f32,
}

/// How a generation ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Why.
    pub reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
    /// Where the time went.
    pub timings: Timings,
    /// The seed of the random draws: with it, the same request gives the same tokens.
    pub seed: u64,
}

/// Why a generation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended its turn with this token of its end-of-generation set.
    Eos(u32),
    /// A stop token of the request.
    StopToken(u32),
    /// A stop string of the request.
    StopString(String),
    /// `max_tokens` or the end of the context.
    Length,
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Of these, tokens found in the prefix cache.
    pub cached: usize,
    /// Tokens chosen, the one that ended the completion among them.
    pub completion: usize,
    /// Guesses computed by [speculation](crate::Speculation).
    pub drafted: usize,
    /// Of these, tokens of the completion.
    pub accepted: usize,
}

/// Time spent on one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the start to the admission into the batch.
    pub queued: Duration,
    /// From the admission to the first token.
    pub prefill: Duration,
    /// From the first token to the last.
    pub decode: Duration,
}
