//! A plan as the kernels read it: all of it in one buffer.

use plimsoll_backend::{CacheShape, Error, Plan};
use plimsoll_model::{Rope, RopeTable, Ropes};

use crate::device::{Buffer, Device};
use crate::driver::Driver;

/// One step's tokens, their places and their rotations.
pub struct Batch<D: Driver> {
    /// Keeps what the addresses lie in.
    _buffer: Buffer<D>,
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

impl<D: Driver> Batch<D> {
    /// A plan that has been checked.
    pub(crate) fn new(device: &Device<D>, plan: &Plan, cache: CacheShape, ropes: &Ropes) -> Result<Self, Error> {
        let (mut positions, mut slots, mut tables, mut blocks) = (vec![], vec![], vec![], vec![]);
        for sequence in &plan.sequences {
            for position in sequence.start..sequence.end() {
                positions.push(position as u32);
                slots.push(sequence.slot(position, cache.block) as u32);
                tables.push(blocks.len() as u32);
            }
            blocks.extend_from_slice(&sequence.block_table[..sequence.end().div_ceil(cache.block)]);
        }
        let mut words: Vec<u32> = Vec::new();
        let mut part = |values: &[u32]| {
            // Pairs are read as one.
            words.resize(words.len().next_multiple_of(2), 0);
            words.extend_from_slice(values);
            (words.len() - values.len()) as u64 * 4
        };
        let [tokens, at_positions, slots, tables, blocks, outputs] =
            [&plan.tokens, &positions, &slots, &tables, &blocks, &plan.outputs].map(|values| part(values));
        let rotation = |(_, table): &(Rope, RopeTable)| -> Vec<u32> {
            let pairs = positions.iter().flat_map(|position| table.rotation(*position as usize));
            pairs.flat_map(|(cos, sin)| [cos.to_bits(), sin.to_bits()]).collect()
        };
        let rotations: Vec<u64> = ropes.iter().map(|rope| part(&rotation(rope))).collect();
        let buffer = device.filled(&words)?;
        let base = buffer.address;
        Ok(Self {
            _buffer: buffer,
            rows: plan.tokens.len(),
            output_rows: plan.outputs.len(),
            longest: positions.iter().map(|position| *position as usize + 1).max().unwrap_or(0),
            tokens: base + tokens,
            positions: base + at_positions,
            slots: base + slots,
            tables: base + tables,
            blocks: base + blocks,
            outputs: base + outputs,
            rotations: rotations.into_iter().map(|offset| base + offset).collect(),
        })
    }
}
