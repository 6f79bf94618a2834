//! Which sequences compute what in the next step.
//!
//! Continuous batching (Orca, OSDI 2022) with chunked prefill (Sarathi, arXiv 2308.16369). Every sequence has tokens
//! that are known and tokens that are computed; a step computes some of the difference. So there is no prefill phase
//! and no decode phase: a decoding sequence is one that has a single token left to compute.
//!
//! - Each step has a budget of tokens. Sequences with one token left go first, then the others take chunks, oldest
//!   first: prompts never stop answers from advancing.
//! - What they leave of it may go to guesses at the next tokens of decoding sequences ([`Drafter`]). Rows of logits that
//!   follow a wrong guess are not looked at; its cache slot is written again when the right token is computed.
//! - Admission is first come, first served, with all blocks for the prompt and `max_tokens` leased at once. Nothing is
//!   ever preempted or swapped out, at the price of a smaller batch when `max_tokens` is set far too high.
//! - A request whose reader has gone is dropped before the next step, waiting or not.
//!
//! A plain state machine: it owns no thread, no clock and no model.

use std::{collections::VecDeque, sync::Arc};

use plimsoll_backend::{Plan, Sequence as Part};

use crate::{
    Error,
    blocks::Blocks,
    draft::Drafter,
    options::{KvCache, Options},
    sampler::{Choice, Sampler},
    step::Step,
};

mod rows;
mod running;

use rows::Rows;
use running::Running;

/// Where a sequence's progress is told. Dropping it unfinished means that the engine went away.
pub(crate) trait Sink {
    /// Nobody is listening any more.
    fn cancelled(&self) -> bool;
    /// `done` of `total` prompt tokens are in the cache, `cached` of them were before; first called on admission.
    fn prefill(&mut self, done: usize, total: usize, cached: usize);
    /// A token was chosen, the last one possible if `last`; false ends the sequence.
    fn token(&mut self, choice: Choice, last: bool) -> bool;
    /// `tokens` guesses were computed.
    fn drafted(&mut self, tokens: usize);
    /// The next token is one of them.
    fn accepted(&mut self);
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
    pub(crate) drafter: Option<Drafter>,
    pub(crate) sink: K,
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
        self.draft();
        let (plan, indices) = self.plan();
        if plan.sequences.is_empty() {
            return;
        }
        match Rows::of(model, &plan) {
            Ok(mut rows) => self.advance(&plan, &indices, &mut rows),
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
            self.running.push(Running::new(job, lease));
        }
    }

    /// Has decoding sequences guess, oldest first, as many tokens as fit into the step beside what all are due.
    fn draft(&mut self) {
        let due: usize = self.running.iter().map(|sequence| sequence.pending().min(self.options.prefill_chunk)).sum();
        let mut room = self.options.step_tokens.saturating_sub(due).min(self.options.draft_tokens);
        for sequence in self.running.iter_mut().filter(|sequence| sequence.pending() == 1) {
            room -= sequence.guess(room);
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
            let draft = sequence.draft();
            if end == sequence.tokens.len() {
                let last = plan.tokens.len() as u32 - 1;
                plan.tokens.extend_from_slice(draft);
                plan.outputs.extend(last..plan.tokens.len() as u32);
                plan.draws.resize(plan.outputs.len(), sequence.draws());
            }
            let block_table = self.blocks.covering(&sequence.lease, end + draft.len()).to_vec();
            plan.sequences.push(Part { start, len: len + draft.len(), block_table });
            indices.push(index);
        }
        (plan, indices)
    }

    /// Records what was computed and chooses tokens for every sequence that has come to its end; `rows` are the logits
    /// of these and of their guesses, in the order of the plan.
    fn advance(&mut self, plan: &Plan, indices: &[usize], rows: &mut Rows<'_, impl Step>) {
        let mut row = 0;
        for (part, &index) in plan.sequences.iter().zip(indices) {
            let sequence = &mut self.running[index];
            sequence.computed += part.len - sequence.draft().len();
            if part.start < sequence.prompt {
                sequence.sink.prefill(sequence.computed, sequence.prompt, sequence.lease.cached);
            }
            if sequence.pending() == 0 {
                row += sequence.choose(rows, row);
            }
            self.blocks.register(&mut sequence.lease, &sequence.tokens[..sequence.computed]);
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
