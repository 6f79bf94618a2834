//! What the scheduler needs of a model.

use plimsoll_backend::Plan;

use crate::Error;

/// A model with its paged KV cache: runs ragged steps and copies cache blocks.
pub trait Step: Send {
    /// Columns of the logits.
    fn vocab(&self) -> usize;

    /// Runs one ragged step and returns the logits of `plan.outputs`, row-major `[outputs, vocab]`.
    fn step(&mut self, plan: &Plan) -> Result<Vec<f32>, Error>;

    /// Copies whole cache blocks, each `(from, to)`, in order.
    fn copy_blocks(&mut self, pairs: &[(u32, u32)]) -> Result<(), Error>;
}

impl<S: Step + ?Sized> Step for Box<S> {
    fn vocab(&self) -> usize {
        (**self).vocab()
    }

    fn step(&mut self, plan: &Plan) -> Result<Vec<f32>, Error> {
        (**self).step(plan)
    }

    fn copy_blocks(&mut self, pairs: &[(u32, u32)]) -> Result<(), Error> {
        (**self).copy_blocks(pairs)
    }
}
