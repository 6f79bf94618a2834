//! What the scheduler needs of a model.

use std::ops::Range;

use plimsoll_backend::{Plan, Top};

use crate::Error;

/// What a step says of the tokens to come.
#[derive(Debug)]
pub enum Logits {
    /// Logits of `plan.outputs`, row-major `[outputs, vocab]`.
    Whole(Vec<f32>),
    /// What the device has found in them, `[outputs]`; they can be [read](Step::rows).
    Top(Vec<Top>),
}

/// A model with its paged KV cache: runs ragged steps and copies cache blocks.
pub trait Step: Send {
    /// Columns of the logits.
    fn vocab(&self) -> usize;

    /// Runs one ragged step.
    fn step(&mut self, plan: &Plan) -> Result<Logits, Error>;

    /// Rows of the latest step's logits, row-major `[rows, vocab]`.
    fn rows(&mut self, rows: Range<usize>) -> Result<Vec<f32>, Error>;

    /// Copies whole cache blocks, each `(from, to)`, in order.
    fn copy_blocks(&mut self, pairs: &[(u32, u32)]) -> Result<(), Error>;

    /// Runs one ragged step and returns all of its logits, row-major `[outputs, vocab]`.
    fn logits(&mut self, plan: &Plan) -> Result<Vec<f32>, Error> {
        match self.step(plan)? {
            Logits::Whole(logits) => Ok(logits),
            Logits::Top(_) => self.rows(0..plan.outputs.len()),
        }
    }
}

impl<S: Step + ?Sized> Step for Box<S> {
    fn vocab(&self) -> usize {
        (**self).vocab()
    }

    fn step(&mut self, plan: &Plan) -> Result<Logits, Error> {
        (**self).step(plan)
    }

    fn rows(&mut self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        (**self).rows(rows)
    }

    fn copy_blocks(&mut self, pairs: &[(u32, u32)]) -> Result<(), Error> {
        (**self).copy_blocks(pairs)
    }
}
