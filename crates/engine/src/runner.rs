//! A model on a backend with its cache: what the scheduler drives.

use std::ops::Range;

use plimsoll_backend::{Backend, Batch, Cache, CacheShape, Model, Plan};

use crate::forward::{Scratch, forward};
use crate::{Error, KvCache, Logits, Step};

/// Runs steps of one model; owned by one engine thread.
pub struct Runner<B: Backend> {
    // Dropped in this order: what the backend made, then the backend.
    batch: Batch<B>,
    scratch: Scratch<B>,
    cache: Cache<B>,
    model: Model<B>,
}

impl<B: Backend> Runner<B> {
    /// A runner for steps of at most `tokens` tokens and `outputs` rows of logits, with an empty cache.
    ///
    /// # Errors
    /// What the backend says when memory does not suffice.
    pub fn new(model: Model<B>, kv: KvCache, tokens: usize, outputs: usize) -> Result<Self, Error> {
        let cache = model.cache(CacheShape { blocks: kv.blocks, block: kv.block_tokens })?;
        let scratch = Scratch::new(&model, tokens, outputs)?;
        let batch = model.batch(tokens, outputs, &cache)?;
        Ok(Self { model, cache, batch, scratch })
    }
}

impl<B: Backend> Step for Runner<B> {
    fn vocab(&self) -> usize {
        self.model.decoder().vocab
    }

    fn step(&mut self, plan: &Plan) -> Result<Logits, Error> {
        let Self { model, cache, batch, scratch } = self;
        model.upload(plan, cache, batch)?;
        model.step(batch, || forward(model, batch, cache, scratch))?;
        match model.top(batch)? {
            Some(top) => Ok(Logits::Top(top)),
            None => Ok(Logits::Whole(self.rows(0..plan.outputs.len())?)),
        }
    }

    fn rows(&mut self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        Ok(self.model.read(&self.scratch.logits, rows)?)
    }

    fn copy_blocks(&mut self, pairs: &[(u32, u32)]) -> Result<(), Error> {
        Ok(self.model.copy_blocks(&mut self.cache, pairs)?)
    }
}
