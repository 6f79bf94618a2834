//! Which sequences compute what in the next step.
//!
//! Continuous batching (Orca, OSDI 2022) with chunked prefill (Sarathi, arXiv 2308.16369). Every sequence has tokens
//! that are known and tokens that are computed; a step computes some of the difference. So there is no prefill phase
//! and no decode phase: a decoding sequence is one that has a single token left to compute.
//!
//! - Each step has a budget of tokens. Sequences with one token left go first, then the others take chunks, oldest
//!   first: prompts never stop answers from advancing.
//! - Admission is first come, first served, with all blocks for the prompt and `max_tokens` leased at once. Nothing is
//!   ever preempted or swapped out, at the price of a smaller batch when `max_tokens` is set far too high.
//! - A request whose reader has gone is dropped before the next step, waiting or not.
//!
//! A plain state machine: it owns no thread, no clock and no model.

use std::{collections::VecDeque, sync::Arc};

use plimsoll_backend::{Plan, Sequence as Part};

use crate::{
    Error,
    blocks::{Blocks, Lease},
    options::{KvCache, Options},
    sampler::{Choice, Sampler},
    step::Step,
};

/// Where a sequence's progress is told. Dropping it unfinished means that the engine went away.
pub(crate) trait Sink {
    /// Nobody is listening any more.
    fn cancelled(&self) -> bool;
    /// `done` of `total` prompt tokens are in the cache, `cached` of them were before; first called on admission.
    fn prefill(&mut self, done: usize, total: usize, cached: usize);
    /// A token was chosen, the last one possible if `last`; false ends the sequence.
    fn token(&mut self, choice: Choice, last: bool) -> bool;
    /// The sequence ends with an error.
    fn fail(&mut self, error: Error);
}

/// A request, ready to be scheduled.
#[derive(Debug)]
pub(crate) struct Job<K> {
    pub(crate) prompt: Vec<u32>,
    /// New tokens at most, at least 1.
    pub(crate) max_tokens: usize,
    pub(crate) sampler: Sampler,
    pub(crate) sink: K,
}

/// A request in the batch.
struct Running<K> {
    /// The prompt and what has been chosen so far.
    tokens: Vec<u32>,
    prompt: usize,
    /// Length of `tokens` at which it ends.
    limit: usize,
    /// How many of `tokens` are in the cache.
    computed: usize,
    lease: Lease,
    sampler: Sampler,
    sink: K,
    ended: bool,
}

impl<K> Running<K> {
    fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }
}

/// Positions a request needs in the cache: the last token chosen is never computed.
pub(crate) fn positions(prompt: usize, max_tokens: usize) -> usize {
    prompt.saturating_add(max_tokens - 1)
}

/// All requests of one engine.
pub(crate) struct Scheduler<K> {
    options: Options,
    blocks: Blocks,
    waiting: VecDeque<Job<K>>,
    /// In the order of admission.
    running: Vec<Running<K>>,
}

impl<K: Sink> Scheduler<K> {
    pub(crate) fn new(options: Options, cache: KvCache) -> Self {
        let blocks = Blocks::new(cache, options.prefix_cache);
        Self { options, blocks, waiting: VecDeque::new(), running: Vec::new() }
    }

    pub(crate) fn add(&mut self, job: Job<K>) {
        self.waiting.push_back(job);
    }

    /// Nothing to do.
    pub(crate) fn idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Sequences in the batch.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Blocks a new sequence could have.
    pub(crate) fn blocks_available(&self) -> usize {
        self.blocks.available()
    }

    /// Drops what was cancelled, admits what fits, and runs one step of `model` if there is anything to compute.
    pub(crate) fn step(&mut self, model: &mut impl Step) {
        self.cancel();
        self.admit(model);
        let (plan, indices) = self.plan();
        if plan.sequences.is_empty() {
            return;
        }
        let result = model.step(&plan).and_then(|logits| {
            let expected = plan.outputs.len() * model.vocab();
            if logits.len() == expected { Ok(logits) } else { Err(Error::StepShape { found: logits.len(), expected }) }
        });
        match result {
            Ok(logits) => self.advance(&plan, &indices, &mut logits.chunks_exact(model.vocab())),
            Err(error) => self.fail(&indices, error),
        }
        self.retire();
    }

    fn cancel(&mut self) {
        self.waiting.retain(|job| !job.sink.cancelled());
        for sequence in &mut self.running {
            sequence.ended |= sequence.sink.cancelled();
        }
        self.retire();
    }

    fn admit(&mut self, model: &mut impl Step) {
        while self.running.len() < self.options.sequences {
            let Some(job) = self.waiting.front() else { return };
            let positions = positions(job.prompt.len(), job.max_tokens);
            let Some((lease, copy)) = self.blocks.lease(&job.prompt, positions) else { return };
            let Some(mut job) = self.waiting.pop_front() else { return };
            if let Some(pair) = copy
                && let Err(error) = model.copy_blocks(&[pair])
            {
                job.sink.fail(error);
                self.blocks.release(lease);
                continue;
            }
            let (prompt, computed) = (job.prompt.len(), lease.cached);
            job.sink.prefill(computed, prompt, computed);
            self.running.push(Running {
                tokens: job.prompt,
                prompt,
                limit: prompt + job.max_tokens,
                computed,
                lease,
                sampler: job.sampler,
                sink: job.sink,
                ended: false,
            });
        }
    }

    /// The next step, and for each of its sequences the index in `running`.
    fn plan(&self) -> (Plan, Vec<usize>) {
        let (decoding, prefilling): (Vec<_>, Vec<_>) =
            (0..self.running.len()).partition(|&index| self.running[index].pending() == 1);
        let mut plan = Plan::default();
        let mut indices = Vec::new();
        for index in decoding.into_iter().chain(prefilling) {
            let sequence = &self.running[index];
            let room = self.options.step_tokens - plan.tokens.len();
            let len = sequence.pending().min(self.options.prefill_chunk).min(room);
            if len == 0 {
                break;
            }
            let (start, end) = (sequence.computed, sequence.computed + len);
            plan.tokens.extend_from_slice(&sequence.tokens[start..end]);
            if end == sequence.tokens.len() {
                plan.outputs.push(plan.tokens.len() as u32 - 1);
            }
            let block_table = self.blocks.covering(&sequence.lease, end).to_vec();
            plan.sequences.push(Part { start, len, block_table });
            indices.push(index);
        }
        (plan, indices)
    }

    /// Records what was computed and chooses a token for every sequence that has come to its end; `rows` are the
    /// logits of these, in the order of the plan.
    fn advance<'l>(&mut self, plan: &Plan, indices: &[usize], rows: &mut impl Iterator<Item = &'l [f32]>) {
        for (part, &index) in plan.sequences.iter().zip(indices) {
            let sequence = &mut self.running[index];
            sequence.computed += part.len;
            self.blocks.register(&mut sequence.lease, &sequence.tokens[..sequence.computed]);
            if part.start < sequence.prompt {
                sequence.sink.prefill(sequence.computed, sequence.prompt, sequence.lease.cached);
            }
            if sequence.pending() > 0 {
                continue;
            }
            let Some(logits) = rows.next() else { return };
            match sequence.sampler.choose(logits, sequence.tokens.len()) {
                Ok(choice) => {
                    sequence.tokens.push(choice.id);
                    let last = sequence.tokens.len() == sequence.limit;
                    sequence.ended = !sequence.sink.token(choice, last) || last;
                }
                Err(error) => {
                    sequence.sink.fail(error);
                    sequence.ended = true;
                }
            }
        }
    }

    /// Ends the sequences that took part in a failed step: what their cache holds is unknown.
    fn fail(&mut self, indices: &[usize], error: Error) {
        let error = Arc::new(error);
        for &index in indices {
            self.running[index].sink.fail(Error::Step(error.clone()));
            self.running[index].ended = true;
        }
    }

    /// Takes the blocks of ended sequences back.
    fn retire(&mut self) {
        for sequence in self.running.extract_if(.., |sequence| sequence.ended) {
            self.blocks.release(sequence.lease);
        }
    }
}

#[cfg(test)]
mod tests;
