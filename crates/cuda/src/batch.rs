//! A plan as the kernels read it: all of it in one buffer that stays where it is.

use plimsoll_backend::{CacheShape, Error, Plan};
use plimsoll_model::{Decoder, Rope, RopeTable, Ropes};

use crate::device::{Buffer, Device};
use crate::driver::Driver;

/// One step's tokens, their places and their rotations.
pub struct Batch<D: Driver> {
    buffer: Buffer<D>,
    /// What is copied to the buffer.
    words: Vec<u32>,
    pub(crate) rows: usize,
    pub(crate) output_rows: usize,
    /// The largest number of positions that a token sees.
    pub(crate) longest: usize,
    /// Token ids, their positions, cache slots, and where the block table of each begins, `[T]` each.
    pub(crate) tokens: u64,
    pub(crate) positions: u64,
    pub(crate) slots: u64,
    pub(crate) tables: u64,
    /// Block tables, one behind the other.
    pub(crate) blocks: u64,
    /// Rows whose logits are wanted, `[R]`.
    pub(crate) outputs: u64,
    /// Cosine and sine, `[T, dim / 2]`, of each of the model's rotary embeddings.
    pub(crate) rotations: Vec<u64>,
}

/// Words of plans of so many rows at most.
fn room(decoder: &Decoder, ropes: &Ropes, rows: usize, outputs: usize, cache: CacheShape) -> usize {
    let rotations: usize = ropes.iter().map(|(rope, _)| rows * rope.dim + 1).sum();
    let table = decoder.context.div_ceil(cache.block);
    4 * (rows + 1) + outputs + 1 + rotations + rows * table + 1
}

impl<D: Driver> Batch<D> {
    /// Room for plans of at most so many rows and outputs.
    pub(crate) fn new(
        device: &Device<D>,
        decoder: &Decoder,
        ropes: &Ropes,
        (rows, outputs): (usize, usize),
        cache: CacheShape,
    ) -> Result<Self, Error> {
        let words = room(decoder, ropes, rows, outputs, cache);
        Ok(Self {
            buffer: device.zeros(words * 4)?,
            words: Vec::with_capacity(words),
            rows: 0,
            output_rows: 0,
            longest: 0,
            tokens: 0,
            positions: 0,
            slots: 0,
            tables: 0,
            blocks: 0,
            outputs: 0,
            rotations: vec![],
        })
    }

    /// Takes a plan that has been checked.
    pub(crate) fn set(
        &mut self,
        device: &Device<D>,
        plan: &Plan,
        cache: CacheShape,
        ropes: &Ropes,
    ) -> Result<(), Error> {
        let (mut positions, mut slots, mut tables, mut blocks) = (vec![], vec![], vec![], vec![]);
        for sequence in &plan.sequences {
            for position in sequence.start..sequence.end() {
                positions.push(position as u32);
                slots.push(sequence.slot(position, cache.block) as u32);
                tables.push(blocks.len() as u32);
            }
            blocks.extend_from_slice(&sequence.block_table[..sequence.end().div_ceil(cache.block)]);
        }
        let (words, base) = (&mut self.words, self.buffer.address);
        words.clear();
        let mut part = |values: &[u32]| {
            // Pairs are read as one.
            words.resize(words.len().next_multiple_of(2), 0);
            words.extend_from_slice(values);
            base + (words.len() - values.len()) as u64 * 4
        };
        self.tokens = part(&plan.tokens);
        self.positions = part(&positions);
        self.slots = part(&slots);
        self.tables = part(&tables);
        self.blocks = part(&blocks);
        self.outputs = part(&plan.outputs);
        let rotation = |(_, table): &(Rope, RopeTable)| -> Vec<u32> {
            let pairs = positions.iter().flat_map(|position| table.rotation(*position as usize));
            pairs.flat_map(|(cos, sin)| [cos.to_bits(), sin.to_bits()]).collect()
        };
        self.rotations = ropes.iter().map(|rope| part(&rotation(rope))).collect();
        self.rows = plan.tokens.len();
        self.output_rows = plan.outputs.len();
        self.longest = positions.iter().map(|position| *position as usize + 1).max().unwrap_or(0);
        device.write(&mut self.buffer, &self.words)
    }
}
