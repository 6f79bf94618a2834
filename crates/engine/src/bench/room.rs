//! The sizes that work takes, and its steps.

use plimsoll_backend::{Plan, Sequence};

use super::work::{Phase, Work};
use crate::fit::CacheSize;
use crate::sampler::uniform;
use crate::{Error, KvCache, Sizes};

/// What the largest of some works takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Prompt tokens of a sequence in a step.
    chunk: usize,
    /// Tokens of all sequences in a step.
    pub(super) step_tokens: usize,
    pub(super) sequences: usize,
    /// Cache blocks of each sequence.
    blocks: usize,
}

impl Room {
    pub(super) fn of(works: &[Work], chunk: usize, context: usize) -> Result<Self, Error> {
        if works.is_empty() || chunk == 0 {
            let (param, found) = if chunk == 0 { ("chunk", "0") } else { ("work", "none") };
            return Err(Error::invalid(param, found, "at least 1"));
        }
        let mut room = Self { chunk, step_tokens: 1, sequences: 1, blocks: 1 };
        for work in works {
            work.check(context)?;
            let fill = chunk.min(work.depth);
            let step = work.stride(chunk).saturating_mul(work.sequences);
            room.step_tokens = room.step_tokens.max(fill).max(step);
            room.sequences = room.sequences.max(work.sequences);
            room.blocks = room.blocks.max((work.depth + work.tokens).div_ceil(KvCache::BLOCK_TOKENS));
        }
        Ok(room)
    }

    pub(super) fn sizes(&self) -> Sizes {
        let blocks = self.blocks.saturating_mul(self.sequences);
        Sizes { tokens: self.step_tokens, outputs: self.sequences, cache: CacheSize::Blocks(blocks) }
    }

    /// The cache that holds it, of at most `kv_bytes`.
    pub(super) fn cache(&self, block_bytes: u64, kv_bytes: Option<u64>) -> Result<KvCache, Error> {
        let blocks = self.blocks.saturating_mul(self.sequences);
        let bytes = block_bytes.saturating_mul(blocks as u64);
        let most = kv_bytes.unwrap_or(u64::MAX);
        if bytes > most || u32::try_from(blocks).is_err() {
            let found = format!("{bytes} bytes, {blocks} blocks of {} tokens", KvCache::BLOCK_TOKENS);
            return Err(Error::invalid("KV cache", found, format!("at most {most} bytes and {} blocks", u32::MAX)));
        }
        Ok(KvCache { blocks, block_tokens: KvCache::BLOCK_TOKENS, block_bytes })
    }

    /// The steps of some work.
    pub(super) fn plans(&self, work: &Work, vocab: usize) -> Vec<Plan> {
        let (stride, end) = (work.stride(self.chunk).max(1), work.depth + work.tokens);
        let starts = (work.depth..end).step_by(stride);
        let plan = |start: usize| {
            let len = stride.min(end - start);
            let wanted = work.phase == Phase::Decode || start + len == end;
            let sequence = |sequence| {
                let block_table = self.table(sequence, (start + len).div_ceil(KvCache::BLOCK_TOKENS));
                Sequence { start, len, block_table }
            };
            let ids = |sequence| (start..start + len).map(move |position| token(sequence, position, vocab));
            Plan {
                tokens: (0..work.sequences).flat_map(ids).collect(),
                sequences: (0..work.sequences).map(sequence).collect(),
                outputs: (1..=if wanted { work.sequences } else { 0 }).map(|i| (i * len - 1) as u32).collect(),
                ..Plan::default()
            }
        };
        starts.map(plan).collect()
    }

    /// The first blocks of a sequence.
    pub(super) fn table(&self, sequence: usize, blocks: usize) -> Vec<u32> {
        let first = sequence * self.blocks;
        (first..first + blocks).map(|block| block as u32).collect()
    }
}

/// A random token id, the same in every run.
pub(super) fn token(sequence: usize, position: usize, vocab: usize) -> u32 {
    (uniform(sequence as u64, position as u64) * vocab as f64) as u32
}
