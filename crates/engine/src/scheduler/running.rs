//! One request in the batch.

use plimsoll_backend::Draw;

use super::{Job, Rows, Sink};
use crate::{blocks::Lease, draft::Drafter, sampler::Sampler, step::Step};

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

    /// How its tokens are drawn.
    pub(super) fn draws(&self) -> Draw {
        self.sampler.draws()
    }

    /// Chooses a token from the logits after the last one, those of `row`, and from those after each guess as long as they
    /// come true. Returns how many rows there are.
    pub(super) fn choose(&mut self, rows: &mut Rows<'_, impl Step>, row: usize) -> usize {
        let draft = self.draft().to_vec();
        self.sink.drafted(draft.len());
        let mut chosen = 0;
        while self.choose_one(rows, row + chosen, draft.get(chosen)) {
            self.computed += 1;
            chosen += 1;
        }
        1 + draft.len()
    }

    /// Chooses a token from a row; whether it was guessed, and the answer goes on.
    fn choose_one(&mut self, rows: &mut Rows<'_, impl Step>, row: usize, guess: Option<&u32>) -> bool {
        let choice = match rows.choose(row, &mut self.sampler, self.tokens.len()) {
            Ok(choice) => choice,
            Err(error) => {
                self.sink.fail(error);
                self.ended = true;
                return false;
            }
        };
        let guessed = guess == Some(&choice.id);
        if guessed {
            self.sink.accepted();
        }
        self.tokens.push(choice.id);
        let last = self.tokens.len() == self.limit;
        self.ended = !self.sink.token(choice, last) || last;
        guessed && !self.ended
    }
}
