//! What one step computes: a ragged batch of tokens of any number of sequences.

/// One step: prefill chunks and decode steps mixed, each sequence with its own block table.
///
/// Tokens of all sequences are concatenated in the order of `sequences`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Token ids, `[T]`.
    pub tokens: Vec<u32>,
    /// The sequences the tokens belong to; their `len`s add up to `T`.
    pub sequences: Vec<Sequence>,
    /// Indices into `tokens` whose logits are wanted, ascending, `[R]`.
    pub outputs: Vec<u32>,
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
