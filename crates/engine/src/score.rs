//! Log-likelihood of a given text.

use plimsoll_backend::{Plan, Sequence};

use crate::sampler::{log_sum_exp, top_logprobs};
use crate::{Error, KvCache, Step};

/// What a model thinks of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// The sequence.
    pub ids: Vec<u32>,
    /// `ln p(ids[t] | ids[..t])`; none for the first.
    pub logprobs: Vec<Option<f32>>,
    /// The most probable tokens after `ids[..=t]` with their log-probabilities, most probable first.
    pub top: Vec<Vec<(u32, f32)>>,
}

impl Scores {
    /// Sum of the log-probabilities, in nats.
    pub fn log_likelihood(&self) -> f64 {
        self.logprobs.iter().flatten().map(|logprob| f64::from(*logprob)).sum()
    }

    /// `exp(-log_likelihood / predicted tokens)`; none for fewer than two tokens.
    pub fn perplexity(&self) -> Option<f64> {
        let predicted = self.logprobs.iter().flatten().count();
        (predicted > 0).then(|| (-self.log_likelihood() / predicted as f64).exp())
    }

    /// Bits that coding a text of `bytes` bytes takes, per byte.
    pub fn bits_per_byte(&self, bytes: usize) -> Option<f64> {
        (bytes > 0).then(|| -self.log_likelihood() / std::f64::consts::LN_2 / bytes as f64)
    }
}

/// Scores a sequence in chunks of at most `chunk` tokens on a runner whose cache nothing else uses.
///
/// # Errors
/// A sequence that is empty or longer than the cache, ids beyond the vocabulary, logits that are not finite.
pub fn score(step: &mut dyn Step, kv: KvCache, ids: &[u32], chunk: usize, top: usize) -> Result<Scores, Error> {
    let blocks = kv.blocks_for(ids.len());
    if ids.is_empty() || blocks > kv.blocks {
        return Err(Error::invalid(
            "ids",
            format!("{} tokens", ids.len()),
            format!("1 to {}", kv.blocks * kv.block_tokens),
        ));
    }
    let mut scores = Scores { ids: ids.to_vec(), logprobs: vec![None], top: Vec::with_capacity(ids.len()) };
    if let Some(id) = ids.iter().find(|id| **id as usize >= step.vocab()) {
        return Err(Error::invalid("ids", id, format!("less than {}, the vocabulary", step.vocab())));
    }
    for (i, tokens) in ids.chunks(chunk.max(1)).enumerate() {
        let start = i * chunk.max(1);
        let plan = Plan {
            tokens: tokens.to_vec(),
            sequences: vec![Sequence { start, len: tokens.len(), block_table: (0..blocks as u32).collect() }],
            outputs: (0..tokens.len() as u32).collect(),
            ..Plan::default()
        };
        let logits = step.logits(&plan)?;
        for (t, row) in logits.chunks_exact(step.vocab()).enumerate() {
            if let Some((token, value)) = row.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                return Err(Error::NotFinite { position: start + t + 1, token, value: *value });
            }
            if let Some(next) = ids.get(start + t + 1) {
                let logprob = f64::from(row[*next as usize]) - log_sum_exp(row);
                scores.logprobs.push(Some(logprob as f32));
            }
            scores.top.push(top_logprobs(row, top));
        }
    }
    Ok(scores)
}
