//! What one step computes: a ragged batch of tokens of any number of sequences.

use std::collections::HashMap;

use crate::{Draw, Error};

/// One step: prefill chunks and decode steps mixed, each sequence with its own block table.
///
/// Tokens of all sequences are concatenated in the order of `sequences`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Token ids, `[T]`.
    pub tokens: Vec<u32>,
    /// The sequences the tokens belong to; their `len`s add up to `T`.
    pub sequences: Vec<Sequence>,
    /// Indices into `tokens` whose logits are wanted, ascending, `[R]`.
    pub outputs: Vec<u32>,
    /// How tokens behind the outputs will be drawn, `[R]`, or nothing where none are.
    pub draws: Vec<Draw>,
}

/// One sequence's part of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Position of its first token in this step: how many tokens its cache already holds.
    pub start: usize,
    /// Tokens in this step, at least 1.
    pub len: usize,
    /// Cache blocks of the sequence in order; position `p` lives in slot `p % block` of `block_table[p / block]`.
    /// Covers at least `start + len` positions.
    pub block_table: Vec<u32>,
}

/// Size of a paged KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Number of blocks.
    pub blocks: usize,
    /// Positions in a block.
    pub block: usize,
}

impl Sequence {
    /// Positions after this step.
    pub fn end(&self) -> usize {
        self.start + self.len
    }

    /// Place of a position in the cache: `block id * block + place in the block`.
    pub fn slot(&self, position: usize, block: usize) -> usize {
        self.block_table[position / block] as usize * block + position % block
    }

    /// Runs of this step's positions that lie next to each other in the cache: `(offset in the step, slot, length)`.
    pub fn appended(&self, block: usize) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        self.runs(block, self.start).map(move |(position, slot, len)| (position - self.start, slot, len))
    }

    /// Runs of all positions from `first` to the end that lie next to each other in the cache: `(position, slot, length)`.
    pub fn runs(&self, block: usize, first: usize) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let mut position = first;
        std::iter::from_fn(move || {
            (position < self.end()).then(|| {
                let start = position;
                let len = (block - start % block).min(self.end() - start);
                position += len;
                (start, self.slot(start, block), len)
            })
        })
    }
}

impl Plan {
    /// Refuses what a backend must never see: ids, blocks and lengths out of range, or two sequences that write one block.
    pub(crate) fn check(&self, vocab: usize, context: usize, cache: CacheShape) -> Result<(), Error> {
        let total = self.tokens.len();
        let lens: usize = self.sequences.iter().map(|s| s.len.min(total + 1)).sum();
        if total == 0 || lens != total {
            return Err(Error::shape("tokens of all sequences", lens, format!("{total}, at least 1")));
        }
        if let Some(token) = self.tokens.iter().find(|token| **token as usize >= vocab) {
            return Err(Error::shape("token id", token, format!("less than {vocab}, the vocabulary")));
        }
        let ascending = self.outputs.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || self.outputs.last().is_some_and(|last| *last as usize >= total) {
            return Err(Error::shape(
                "outputs",
                format!("{:?}", self.outputs),
                format!("ascending, less than {total}"),
            ));
        }
        let drawable = |draw: &Draw| draw.temperature > 0.0 && draw.temperature.is_finite();
        if !(self.draws.is_empty() || self.draws.len() == self.outputs.len()) || !self.draws.iter().all(drawable) {
            let expected = format!("none or {}, at finite temperatures above 0", self.outputs.len());
            return Err(Error::shape("draws", format!("{:?}", self.draws), expected));
        }
        let mut writer = HashMap::new();
        for (i, sequence) in self.sequences.iter().enumerate() {
            sequence.check(context, cache)?;
            for (_, slot, _) in sequence.appended(cache.block) {
                let block = slot / cache.block;
                if *writer.entry(block).or_insert(i) != i {
                    return Err(Error::shape(
                        "cache block",
                        format!("{block}, written by two sequences"),
                        "one writer",
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Sequence {
    fn check(&self, context: usize, cache: CacheShape) -> Result<(), Error> {
        let end = self.start.checked_add(self.len).filter(|end| self.len > 0 && *end <= context);
        let Some(end) = end else {
            let found = format!("{} + {}", self.start, self.len);
            return Err(Error::shape("positions of a sequence", found, format!("1 to {context}, the context")));
        };
        let blocks = end.div_ceil(cache.block);
        if self.block_table.len() < blocks {
            return Err(Error::shape("block table", self.block_table.len(), format!("{blocks} for {end} positions")));
        }
        match self.block_table[..blocks].iter().find(|block| **block as usize >= cache.blocks) {
            Some(block) => Err(Error::shape("cache block", block, format!("less than {}", cache.blocks))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE: CacheShape = CacheShape { blocks: 4, block: 4 };

    fn sequence(start: usize, len: usize, block_table: &[u32]) -> Sequence {
        Sequence { start, len, block_table: block_table.to_vec() }
    }

    fn plan(tokens: usize, outputs: &[u32], sequences: Vec<Sequence>) -> Plan {
        Plan { tokens: vec![1; tokens], sequences, outputs: outputs.to_vec(), draws: vec![] }
    }

    #[test]
    fn runs_follow_the_block_table() {
        let runs: Vec<_> = sequence(3, 6, &[2, 0, 3]).appended(4).collect();
        assert_eq!(runs, [(0, 11, 1), (1, 0, 4), (5, 12, 1)]);
    }

    #[test]
    fn bad_plans_are_refused_with_their_numbers() {
        let cases = [
            (plan(0, &[], vec![]), "tokens of all sequences is 0"),
            (plan(3, &[], vec![sequence(0, 2, &[0])]), "is 2, expected 3"),
            (plan(1, &[], vec![sequence(usize::MAX, 1, &[0])]), "positions of a sequence"),
            (plan(1, &[1], vec![sequence(0, 1, &[0])]), "outputs is [1]"),
            (plan(5, &[], vec![sequence(0, 5, &[0])]), "block table is 1, expected 2"),
            (plan(1, &[], vec![sequence(0, 1, &[4])]), "cache block is 4"),
            (plan(2, &[], vec![sequence(0, 1, &[1]), sequence(1, 1, &[1])]), "written by two sequences"),
            (plan(1, &[], vec![sequence(32, 1, &[0; 9])]), "expected 1 to 32, the context"),
        ];
        for (plan, message) in cases {
            let error = plan.check(8, 32, CACHE).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let mut foreign = plan(1, &[0], vec![sequence(0, 1, &[0])]);
        assert!(foreign.check(8, 32, CACHE).is_ok());
        foreign.draws = vec![Draw::default()];
        assert!(foreign.check(8, 32, CACHE).is_ok());
        for draws in [vec![Draw { temperature: 0.0, vocab: 8 }], vec![Draw::default(); 2]] {
            let error = Plan { draws, ..foreign.clone() }.check(8, 32, CACHE).unwrap_err().to_string();
            assert!(error.contains("expected none or 1, at finite temperatures above 0"), "{error}");
        }
        foreign.tokens[0] = 8;
        assert!(foreign.check(8, 32, CACHE).unwrap_err().to_string().contains("token id is 8"));
    }
}
