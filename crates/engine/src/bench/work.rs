//! What is timed, and the statistics of it.

use std::fmt;
use std::time::Duration;

use crate::Error;

/// Bounds the logits of a step.
const MAX_SEQUENCES: usize = 1024;

/// What kind of step is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading prompts: a chunk of tokens of each sequence a step, and the logits of its last token.
    Prefill,
    /// Writing answers: one token of each sequence a step, and its logits.
    Decode,
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// What kind of step.
    pub phase: Phase,
    /// Tokens of each sequence.
    pub tokens: usize,
    /// Tokens of each sequence that are in the cache already.
    pub depth: usize,
    /// Sequences side by side, each with its own cache blocks.
    pub sequences: usize,
}

impl Work {
    /// `tokens` of one prompt after `depth` others.
    pub fn prefill(tokens: usize, depth: usize) -> Self {
        Self { phase: Phase::Prefill, tokens, depth, sequences: 1 }
    }

    /// `tokens` of each of `sequences` answers after `depth` others.
    pub fn decode(tokens: usize, depth: usize, sequences: usize) -> Self {
        Self { phase: Phase::Decode, tokens, depth, sequences }
    }

    /// Tokens per second, of all sequences together.
    pub fn tok_s(&self, time: Duration) -> f64 {
        self.tokens as f64 * self.sequences as f64 / time.as_secs_f64()
    }

    /// Tokens of one sequence in a step.
    pub(super) fn stride(&self, chunk: usize) -> usize {
        match self.phase {
            Phase::Prefill => chunk.min(self.tokens),
            Phase::Decode => 1,
        }
    }

    /// Whether a model of this context can do it.
    pub(super) fn check(&self, context: usize) -> Result<(), Error> {
        if self.tokens == 0 {
            return Err(Error::invalid("tokens", 0, "at least 1"));
        }
        if !(1..=MAX_SEQUENCES).contains(&self.sequences) {
            return Err(Error::invalid("sequences", self.sequences, format!("1 to {MAX_SEQUENCES}")));
        }
        match self.depth.checked_add(self.tokens) {
            Some(end) if end <= context => Ok(()),
            _ => {
                let found = format!("{} and {} tokens after it", self.depth, self.tokens);
                Err(Error::invalid("depth", found, format!("together at most {context}, the context")))
            }
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, tokens, depth, sequences } = self;
        write!(f, "{phase:?} of {tokens} tokens of {sequences} sequences at depth {depth}")
    }
}

/// Median and range of repetitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the values are below it.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of some values; none of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}
