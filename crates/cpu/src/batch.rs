//! A plan as the kernels read it.

use plimsoll_backend::{CacheShape, Plan, Sequence};
use plimsoll_model::Ropes;

use crate::rope::{Rotation, rotations};

/// One step's tokens, their places and their rotations.
pub struct Batch {
    /// Token ids, `[T]`.
    pub(crate) tokens: Vec<u32>,
    /// Rows whose logits are wanted, `[R]`.
    pub(crate) outputs: Vec<u32>,
    /// The sequences with the row of each one's first token.
    pub(crate) sequences: Vec<(usize, Sequence)>,
    /// Cache slots of the tokens, `[T]`.
    pub(crate) slots: Vec<usize>,
    /// Of each of the model's rotary embeddings.
    pub(crate) rotations: Vec<Rotation>,
}

impl Batch {
    /// A plan that has been checked.
    pub(crate) fn new(plan: &Plan, cache: CacheShape, ropes: &Ropes) -> Self {
        let mut next = 0;
        let first_row = |sequence: &Sequence| {
            next += sequence.len;
            next - sequence.len
        };
        let rows: Vec<usize> = plan.sequences.iter().map(first_row).collect();
        let positions = || plan.sequences.iter().flat_map(|s| (s.start..s.end()).map(move |position| (s, position)));
        Self {
            tokens: plan.tokens.clone(),
            outputs: plan.outputs.clone(),
            sequences: rows.into_iter().zip(plan.sequences.iter().cloned()).collect(),
            slots: positions().map(|(s, position)| s.slot(position, cache.block)).collect(),
            rotations: rotations(ropes, positions().map(|(_, position)| position)),
        }
    }
}
