//! Penalties on tokens that were there before.

use std::collections::{HashMap, HashSet};

use crate::Sampling;

/// The penalties of one sequence and what it has said so far.
#[derive(Debug)]
pub(super) struct Penalties {
    repetition: f32,
    presence: f32,
    frequency: f32,
    prompt: HashSet<u32>,
    completion: HashMap<u32, u32>,
}

impl Penalties {
    pub(super) fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        let repetition = sampling.repetition_penalty.unwrap_or(1.0);
        Self {
            repetition,
            presence: sampling.presence_penalty.unwrap_or(0.0),
            frequency: sampling.frequency_penalty.unwrap_or(0.0),
            prompt: if repetition == 1.0 { HashSet::new() } else { prompt.iter().copied().collect() },
            completion: HashMap::new(),
        }
    }

    /// Whether there is anything to apply.
    pub(super) fn active(&self) -> bool {
        self.repetition != 1.0 || self.presence != 0.0 || self.frequency != 0.0
    }

    /// Counts a token of the completion.
    pub(super) fn count(&mut self, token: u32) {
        if self.active() {
            *self.completion.entry(token).or_default() += 1;
        }
    }

    /// Whether no logit becomes larger.
    pub(super) fn lower(&self) -> bool {
        self.repetition >= 1.0 && self.presence >= 0.0 && self.frequency >= 0.0
    }

    /// How many tokens it applies to, at most.
    pub(super) fn len(&self) -> usize {
        self.prompt.len() + self.completion.len()
    }

    /// Tokens that were there before, each once.
    pub(super) fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        let unsaid = self.prompt.iter().filter(|token| !self.completion.contains_key(token));
        unsaid.chain(self.completion.keys()).copied()
    }

    /// Repetition divides a positive logit and multiplies a negative one (CTRL, arXiv 1909.05858); presence and
    /// frequency are subtracted, the latter per occurrence (OpenAI).
    pub(super) fn apply(&self, token: u32, logit: f32) -> f32 {
        let count = match self.completion.get(&token) {
            Some(count) => *count as f32,
            None if self.prompt.contains(&token) => 0.0,
            None => return logit,
        };
        let scaled = if logit > 0.0 { logit / self.repetition } else { logit * self.repetition };
        let subtracted = self.presence * count.min(1.0) + self.frequency * count;
        (scaled.clamp(f32::MIN, f32::MAX) - subtracted).clamp(f32::MIN, f32::MAX)
    }
}
