//! One request in the batch.

use super::{Job, Sink};
use crate::{blocks::Lease, draft::Drafter, sampler::Sampler};

/// A request in the batch.
pub(super) struct Running<K> {
    /// The prompt and what has been chosen so far.
    pub(super) tokens: Vec<u32>,
    pub(super) prompt: usize,
    /// Length of `tokens` at which it ends.
    limit: usize,
    /// How many of `tokens` are in the cache.
    pub(super) computed: usize,
    pub(super) lease: Lease,
    sampler: Sampler,
    drafter: Option<Drafter>,
    pub(super) sink: K,
    pub(super) ended: bool,
}

impl<K: Sink> Running<K> {
    /// Admits a request with its share of the cache.
    pub(super) fn new(mut job: Job<K>, lease: Lease) -> Self {
        let prompt = job.prompt.len();
        job.sink.prefill(lease.cached, prompt, lease.cached);
        Self {
            tokens: job.prompt,
            prompt,
            limit: prompt + job.max_tokens,
            computed: lease.cached,
            lease,
            sampler: job.sampler,
            drafter: job.drafter,
            sink: job.sink,
            ended: false,
        }
    }

    /// Tokens that are known and not computed.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Guesses tokens to come, at most `room`, and none that the lease has no place for; returns how many.
    pub(super) fn guess(&mut self, room: usize) -> usize {
        let Some(drafter) = &mut self.drafter else { return 0 };
        // The last token chosen is never computed.
        let left = self.limit - self.tokens.len() - 1;
        drafter.guess(&self.tokens, room.min(left));
        drafter.draft().len()
    }

    /// The guesses that the next step computes behind `tokens`.
    pub(super) fn draft(&self) -> &[u32] {
        self.drafter.as_ref().map_or(&[], Drafter::draft)
    }

    /// Chooses a token from the logits after the last one, and from those after each guess as long as they come true.
    pub(super) fn choose<'l>(&mut self, rows: &mut impl Iterator<Item = &'l [f32]>) {
        let draft = self.draft().to_vec();
        let rows: Vec<_> = rows.take(1 + draft.len()).collect();
        self.sink.drafted(draft.len());
        let mut draft = draft.into_iter();
        for logits in rows {
            let choice = match self.sampler.choose(logits, self.tokens.len()) {
                Ok(choice) => choice,
                Err(error) => {
                    self.sink.fail(error);
                    self.ended = true;
                    return;
                }
            };
            let id = choice.id;
            let guessed = draft.next() == Some(id);
            if guessed {
                self.sink.accepted();
            }
            self.tokens.push(id);
            let last = self.tokens.len() == self.limit;
            self.ended = !self.sink.token(choice, last) || last;
            if self.ended || !guessed {
                return;
            }
            self.computed += 1;
        }
    }
}
