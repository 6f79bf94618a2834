//! A model whose logits depend on every cache slot of a sequence: wrong block tables, sharing or copies show in what it
//! says.

use std::ops::Range;

use plimsoll_backend::{Plan, naive};

use crate::{
    Error,
    options::{KvCache, Options},
    step::{Logits, Step},
};

/// What a slot of a block nobody wrote to holds.
const EMPTY: u64 = 0xDEAD;

pub(crate) struct Fake {
    vocab: usize,
    block_tokens: usize,
    /// One value per slot, a function of all tokens up to it, as keys and values of a real model are.
    slots: Vec<u64>,
    /// Tokens computed in each step so far.
    pub(crate) steps: Vec<usize>,
    /// Rows of logits in each step so far.
    pub(crate) rows: Vec<usize>,
    /// Blocks copied so far.
    pub(crate) copies: usize,
    /// How many of the largest logits it finds itself; none to return them all.
    pub(crate) top: Option<usize>,
    /// Of the latest step.
    logits: Vec<f32>,
    /// Rows of logits read so far.
    pub(crate) read: usize,
    /// What the next step shall do instead of its work.
    pub(crate) mishap: Option<Mishap>,
}

pub(crate) enum Mishap {
    Error,
    Nan,
    Short,
}

impl Fake {
    pub(crate) const VOCAB: usize = 32;

    pub(crate) fn new(cache: KvCache) -> Self {
        Self {
            vocab: Self::VOCAB,
            block_tokens: cache.block_tokens,
            slots: vec![EMPTY; cache.blocks * cache.block_tokens],
            steps: Vec::new(),
            rows: Vec::new(),
            copies: 0,
            top: None,
            logits: Vec::new(),
            read: 0,
            mishap: None,
        }
    }

    /// The logits after `history`, without any cache.
    pub(crate) fn logits(vocab: usize, history: &[u32]) -> Vec<f32> {
        let mut slot = 0;
        let slots = history.iter().enumerate().map(|(position, &token)| {
            slot = next_slot(slot, token, position);
            slot
        });
        head(vocab, slots)
    }
}

fn hash(a: u64, b: u64) -> u64 {
    let x = (a ^ b.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ (x >> 32)
}

fn next_slot(before: u64, token: u32, position: usize) -> u64 {
    hash(hash(before, u64::from(token) + 1), position as u64 + 1)
}

fn head(vocab: usize, slots: impl Iterator<Item = u64>) -> Vec<f32> {
    let state = slots.fold(1, hash);
    (0..vocab as u64).map(|id| (hash(state, id) >> 40) as f32 / (1u32 << 22) as f32).collect()
}

impl Step for Fake {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn step(&mut self, plan: &Plan) -> Result<Logits, Error> {
        self.steps.push(plan.tokens.len());
        self.rows.push(plan.outputs.len());
        let mut logits = Vec::new();
        let mut first = 0;
        for part in &plan.sequences {
            let at = |position: usize| {
                part.block_table[position / self.block_tokens] as usize * self.block_tokens
                    + position % self.block_tokens
            };
            for i in 0..part.len {
                let position = part.start + i;
                let before = if position == 0 { 0 } else { self.slots[at(position - 1)] };
                self.slots[at(position)] = next_slot(before, plan.tokens[first + i], position);
                if plan.outputs.contains(&((first + i) as u32)) {
                    logits.extend(head(self.vocab, (0..=position).map(|p| self.slots[at(p)])));
                }
            }
            first += part.len;
        }
        assert_eq!(first, plan.tokens.len());
        match self.mishap.take() {
            None => {}
            Some(Mishap::Error) => return Err(Error::Unsupported { param: "everything", by: "the fake".into() }),
            Some(Mishap::Nan) => logits[0] = f32::NAN,
            Some(Mishap::Short) => drop(logits.pop()),
        }
        let Some(count) = self.top else { return Ok(Logits::Whole(logits)) };
        let draw = |row| plan.draws.get(row).copied().unwrap_or_default();
        let rows = logits.chunks(self.vocab).enumerate();
        let top = rows.map(|(row, logits)| naive::top(logits, draw(row), count)).collect();
        self.logits = logits;
        Ok(Logits::Top(top))
    }

    fn rows(&mut self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        self.read += rows.len();
        Ok(self.logits[rows.start * self.vocab..rows.end * self.vocab].to_vec())
    }

    fn copy_blocks(&mut self, pairs: &[(u32, u32)]) -> Result<(), Error> {
        for &(from, to) in pairs {
            let from = from as usize * self.block_tokens;
            self.slots.copy_within(from..from + self.block_tokens, to as usize * self.block_tokens);
        }
        self.copies += pairs.len();
        Ok(())
    }
}

/// A cache of `blocks` blocks of `block_tokens` tokens.
pub(crate) fn cache(blocks: usize, block_tokens: usize) -> KvCache {
    KvCache { blocks, block_tokens, block_bytes: 64 * block_tokens as u64 }
}

/// Options small enough that every limit is met in tests.
pub(crate) fn options(step_tokens: usize, prefill_chunk: usize, sequences: usize) -> Options {
    Options { step_tokens, prefill_chunk, sequences, ..Options::default() }
}

/// A model that knows its lines: at position `i` it says `script[i]`, and after its last line 0.
pub(crate) struct Script(pub(crate) Vec<u32>);

impl Step for Script {
    fn vocab(&self) -> usize {
        Fake::VOCAB
    }

    fn step(&mut self, plan: &Plan) -> Result<Logits, Error> {
        let positions: Vec<usize> = plan.sequences.iter().flat_map(|part| part.start..part.start + part.len).collect();
        let row = |&output: &u32| {
            let said = self.0.get(positions[output as usize] + 1).map_or(0, |&id| id as usize);
            (0..Fake::VOCAB).map(move |id| if id == said { 5.0 } else { 0.0 })
        };
        Ok(Logits::Whole(plan.outputs.iter().flat_map(row).collect()))
    }

    fn rows(&mut self, _: Range<usize>) -> Result<Vec<f32>, Error> {
        unreachable!("its steps return whole rows")
    }

    fn copy_blocks(&mut self, _: &[(u32, u32)]) -> Result<(), Error> {
        Ok(())
    }
}
