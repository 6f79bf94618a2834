//! From logits to a token.
//!
//! The steps, in order; those that change nothing are skipped:
//!
//! 1. log-probabilities are taken from the raw logits, before anything else;
//! 2. ids beyond the tokenizer's vocabulary are masked;
//! 3. `logit_bias` is added (a bias of negative infinity bans a token, whatever the penalties);
//! 4. `repetition_penalty` (prompt and completion), then `presence_penalty` and `frequency_penalty` (completion);
//! 5. at `temperature` 0 the largest logit wins, of equal ones the lowest id; the steps below could not change that;
//! 6. logits are divided by `temperature`, then cut by `top_k`, `top_p` and `min_p`, each seeing the survivors of the
//!    one before, renormalized;
//! 7. one token is drawn, from the most probable on.
//!
//! Biases and penalties come first as in vLLM; 6 is the order of Hugging Face transformers. llama.cpp applies the
//! temperature last, so its `top_p` and `min_p` cut the untempered distribution.
//!
//! The steps need a whole row of logits, or what a device has found in it: then the choice is that of the whole row, or there is
//! none and the row has to be read.

mod candidates;
mod logprobs;
mod penalties;
mod random;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use candidates::Candidates;
use logprobs::listed_logprobs;
pub(crate) use logprobs::{log_sum_exp, top_logprobs};
use penalties::Penalties;
use plimsoll_backend::{Draw, Top};
pub(crate) use random::{random_seed, uniform};

use crate::{Error, Sampling};

/// A chosen token.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    pub(crate) id: u32,
    /// If asked for.
    pub(crate) logprob: Option<f32>,
    /// The most probable ids with their log-probabilities, as many as asked for.
    pub(crate) top: Vec<(u32, f32)>,
}

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub(crate) struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    /// Negative infinity for a ban.
    biases: HashMap<u32, f32>,
    penalties: Penalties,
    /// Ids from here on are never chosen.
    vocab: usize,
    logprobs: Option<usize>,
    seed: u64,
}

impl Sampler {
    /// A sampler for a sequence that starts with `prompt`; unset fields of `sampling` change nothing, an unset
    /// temperature is 0. Reports the log-probabilities of the `logprobs` most probable tokens.
    pub(crate) fn new(sampling: &Sampling, prompt: &[u32], vocab: usize, logprobs: Option<usize>) -> Self {
        let mut biases = HashMap::new();
        for (token, bias) in &sampling.logit_bias {
            let sum: &mut f32 = biases.entry(*token).or_default();
            let ban = sum.is_infinite() || bias.is_infinite();
            *sum = if ban { f32::NEG_INFINITY } else { (*sum + bias).clamp(f32::MIN, f32::MAX) };
        }
        Self {
            temperature: sampling.temperature.unwrap_or(0.0),
            top_k: sampling.top_k.unwrap_or(0),
            top_p: sampling.top_p.unwrap_or(1.0),
            min_p: sampling.min_p.unwrap_or(0.0),
            biases,
            penalties: Penalties::new(sampling, prompt),
            vocab,
            logprobs,
            seed: sampling.seed.unwrap_or_else(random_seed),
        }
    }

    /// The seed of the random draws.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// What the draws need of a device that finds the largest logits.
    pub(crate) fn draws(&self) -> Draw {
        let vocab = u32::try_from(self.vocab).unwrap_or(u32::MAX);
        let greedy = Draw { vocab, ..Draw::default() };
        if self.temperature == 0.0 { greedy } else { Draw { temperature: self.temperature, ..greedy } }
    }

    /// Chooses the token at `position` of the sequence from what a device found in the logits of the one before: as
    /// [`choose`](Self::choose) would from all of them, or none.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a logit is NaN or infinite.
    pub(crate) fn choose_listed(&mut self, top: &Top, position: usize) -> Result<Option<Choice>, Error> {
        if let Some((token, value)) = top.not_finite {
            return Err(Error::NotFinite { position, token: token as usize, value });
        }
        let Some(id) = self.pick_listed(top, position) else { return Ok(None) };
        let choice = match self.logprobs {
            None => Choice { id, ..Choice::default() },
            Some(n) => match listed_logprobs(top, id, n) {
                Some((logprob, top)) => Choice { id, logprob: Some(logprob), top },
                None => return Ok(None),
            },
        };
        self.penalties.count(id);
        Ok(Some(choice))
    }

    /// Chooses the token at `position` of the sequence from the logits `[vocab]` of the one before.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a logit is NaN or infinite, [`Error::NothingToChoose`] if every token is banned.
    pub(crate) fn choose(&mut self, logits: &[f32], position: usize) -> Result<Choice, Error> {
        if let Some(token) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(Error::NotFinite { position, token, value: logits[token] });
        }
        let id = self.pick(&self.adjust(logits), position).ok_or(Error::NothingToChoose { position })?;
        self.penalties.count(id);
        let choice = match self.logprobs {
            None => Choice { id, ..Choice::default() },
            Some(top) => Choice {
                id,
                logprob: Some((f64::from(logits[id as usize]) - log_sum_exp(logits)) as f32),
                top: top_logprobs(logits, top),
            },
        };
        Ok(choice)
    }

    /// Steps 2 to 4. Only a ban makes a logit infinite.
    fn adjust<'l>(&self, logits: &'l [f32]) -> Cow<'l, [f32]> {
        let mut logits = Cow::Borrowed(&logits[..self.vocab.min(logits.len())]);
        if self.biases.is_empty() && !self.penalties.active() {
            return logits;
        }
        let adjusted = logits.to_mut();
        let said: HashSet<u32> = self.penalties.tokens().collect();
        for token in said.iter().chain(self.biases.keys().filter(|token| !said.contains(token))) {
            if let Some(logit) = adjusted.get_mut(*token as usize) {
                *logit = self.adjusted(*token, *logit);
            }
        }
        logits
    }

    /// Steps 3 and 4 for one token.
    fn adjusted(&self, token: u32, logit: f32) -> f32 {
        match self.biases.get(&token) {
            Some(ban) if ban.is_infinite() => *ban,
            Some(bias) => self.penalties.apply(token, (logit + bias).clamp(f32::MIN, f32::MAX)),
            None => self.penalties.apply(token, logit),
        }
    }

    /// Steps 5 to 7; none if no logit is above negative infinity.
    fn pick(&self, logits: &[f32], position: usize) -> Option<u32> {
        match self.temperature {
            0.0 => greedy(logits),
            _ => self.draw(Candidates::new(logits), position),
        }
    }

    /// Steps 2 to 7; none if logits that are not listed decide.
    fn pick_listed(&self, top: &Top, position: usize) -> Option<u32> {
        // What raises a logit may bring any token before those that are listed.
        if !self.penalties.lower() || self.biases.values().any(|bias| *bias > 0.0) {
            return None;
        }
        let Draw { temperature, .. } = self.draws();
        let lowered = self.biases.len() + self.penalties.len();
        let adjust = |token, logit| self.adjusted(token, logit);
        let candidates = Candidates::listed(top, self.vocab, temperature, lowered, adjust);
        match self.temperature {
            0.0 => candidates.first(),
            _ => self.draw(candidates, position),
        }
    }

    /// Steps 6 and 7.
    fn draw(&self, mut candidates: Candidates, position: usize) -> Option<u32> {
        candidates.top_k(self.top_k);
        candidates.weigh(self.temperature);
        candidates.top_p(self.top_p);
        candidates.min_p(self.min_p);
        candidates.draw(uniform(self.seed, position as u64))
    }
}

fn greedy(logits: &[f32]) -> Option<u32> {
    let mut best = None;
    let mut highest = f32::NEG_INFINITY;
    for (id, &logit) in logits.iter().enumerate() {
        if logit.total_cmp(&highest).is_gt() {
            (best, highest) = (Some(id as u32), logit);
        }
    }
    best
}

#[cfg(test)]
mod tests;
