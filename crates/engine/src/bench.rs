//! Steps of a model on the clock: no scheduler, no sampler, no text.
//!
//! Token ids are random, the same in every run: speed depends on how many there are, not on which.

mod room;
mod work;

use std::time::{Duration, Instant};

use plimsoll_backend::{Backend, TensorSource};
use plimsoll_model::{Part, TensorId};

use crate::{Error, KvCache, ModelInfo, Opened, Progress, Sizes, Step};
use room::Room;

pub use work::{Phase, Spread, Work};

/// A model loaded to be timed.
pub struct Bench {
    step: Box<dyn Step>,
    info: ModelInfo,
    step_bytes: u64,
    works: Vec<Work>,
    room: Room,
    filled: bool,
}

impl Bench {
    /// Loads a model with a cache for the largest of `works`, of at most `kv_bytes`. Prompts are cut into steps of
    /// `chunk` tokens.
    ///
    /// # Errors
    /// [`Error::Invalid`] for work of no tokens, beyond the model's context, or with too large a cache; and as for
    /// [`Opened::start`].
    pub fn load<B: Backend>(
        opened: &Opened,
        backend: B,
        works: &[Work],
        chunk: usize,
        kv_bytes: Option<u64>,
        progress: Progress<'_>,
    ) -> Result<Self, Error> {
        let checkpoint = opened.checkpoint();
        let room = Room::of(works, chunk, checkpoint.decoder().context)?;
        let cache = room.cache(backend.block_bytes(checkpoint.decoder(), KvCache::BLOCK_TOKENS) as u64, kv_bytes)?;
        opened.fit(&backend, room.sizes(), cache)?.check()?;
        let (info, step_bytes) = (opened.info(&backend), step_bytes(opened));
        let runner = opened.runner(backend, cache, room.sizes(), progress)?;
        Ok(Self { step: Box::new(runner), info, step_bytes, works: works.to_vec(), room, filled: false })
    }

    /// What a model is loaded for, to do the largest of `works`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for work of no tokens or beyond the model's context.
    pub fn sizes(opened: &Opened, works: &[Work], chunk: usize) -> Result<Sizes, Error> {
        Ok(Room::of(works, chunk, opened.checkpoint().decoder().context)?.sizes())
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Bytes of weights, as stored or as quantized while loading, that a decode step reads: all of them but for an
    /// embedding that is not the head as well, of which it reads a row a token.
    pub fn step_bytes(&self) -> u64 {
        self.step_bytes
    }

    /// Does `work`, one of those that the model was loaded for, and returns how long it took. The first run of all
    /// fills the cache before its clock starts.
    ///
    /// # Errors
    /// [`Error::Invalid`] for other work; what the backend says of a step that fails.
    pub fn run(&mut self, work: &Work) -> Result<Duration, Error> {
        if !self.works.contains(work) {
            return Err(Error::invalid("work", work, "what the model was loaded for"));
        }
        if !self.filled {
            self.fill()?;
            self.filled = true;
        }
        let plans = self.room.plans(work, self.step.vocab());
        let start = Instant::now();
        for plan in &plans {
            self.step.step(plan)?;
        }
        Ok(start.elapsed())
    }

    /// Computes the cache of the first sequence down to the greatest depth, and copies it to the others.
    fn fill(&mut self) -> Result<(), Error> {
        let depth = self.works.iter().map(|work| work.depth).max().unwrap_or(0);
        for plan in self.room.plans(&Work::prefill(depth, 0), self.step.vocab()) {
            self.step.step(&plan)?;
        }
        let blocks = depth.div_ceil(KvCache::BLOCK_TOKENS);
        let copies = (1..self.room.sequences)
            .flat_map(|sequence| self.room.table(0, blocks).into_iter().zip(self.room.table(sequence, blocks)));
        self.step.copy_blocks(&copies.collect::<Vec<_>>())
    }
}

fn step_bytes(opened: &Opened) -> u64 {
    let decoder = opened.checkpoint().decoder();
    let read = |(id, _): &(TensorId, _)| decoder.tied_embeddings || *id != Part::Embedding.global();
    let bytes = |(id, shape): (TensorId, Vec<usize>)| match opened.recipe() {
        Some(recipe) => recipe.block(decoder, id, &shape).tensor_bytes(&shape).unwrap_or(0),
        None => opened.checkpoint().tensor(id).map_or(0, |view| view.data.len()),
    };
    decoder.tensors().into_iter().filter(read).map(|tensor| bytes(tensor) as u64).sum()
}

#[cfg(test)]
mod tests;
