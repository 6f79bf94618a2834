//! Guesses at the tokens of one sequence, and whether they are worth computing.

use crate::{Speculation, speculation::MAX_NGRAM};

/// A two-bit saturating counter, as in branch prediction: right guesses raise it, wrong ones lower it, and guesses are
/// computed while it is in its upper half.
const MOST_TRUST: u8 = 3;
const ENOUGH_TRUST: u8 = 2;

/// Guesses the next tokens of one sequence.
#[derive(Debug)]
pub(crate) struct Drafter {
    most: usize,
    ngram: usize,
    /// Every guess is held against the token that came, computed or not: that costs nothing, so a sequence that begins
    /// to repeat itself is noticed while none is computed.
    trust: u8,
    guess: Vec<u32>,
    /// Where in the sequence `guess` begins.
    at: usize,
    /// How many tokens of `guess` the next step computes.
    computed: usize,
}

impl Drafter {
    pub(crate) fn new(Speculation::PromptLookup { draft, ngram }: Speculation) -> Self {
        Self { most: draft, ngram, trust: ENOUGH_TRUST, guess: Vec::new(), at: 0, computed: 0 }
    }

    /// Learns how good the last guess was and guesses what follows `tokens`; at most `room` guesses are to be computed.
    pub(crate) fn guess(&mut self, tokens: &[u32], room: usize) {
        if let Some(&token) = tokens.get(self.at) {
            self.learn(token);
        }
        self.guess.clear();
        self.at = tokens.len();
        if let Some(source) = lookup(tokens, self.ngram) {
            // As in LZ77, what follows may run into the guess itself: a loop goes on.
            for i in source..source + self.most {
                self.guess.push(tokens.get(i).copied().unwrap_or_else(|| self.guess[i - tokens.len()]));
            }
        }
        self.computed = if self.trust >= ENOUGH_TRUST { self.guess.len().min(room) } else { 0 };
    }

    /// The guesses that the next step computes.
    pub(crate) fn draft(&self) -> &[u32] {
        &self.guess[..self.computed]
    }

    /// Holds the guess against the token that came.
    fn learn(&mut self, token: u32) {
        match self.guess.first() {
            Some(&guess) if guess == token => self.trust = MOST_TRUST.min(self.trust + 1),
            Some(_) => self.trust = self.trust.saturating_sub(1),
            None => {}
        }
    }
}

/// Where the continuation of an earlier occurrence of the last tokens begins: the one where most agree, [`MAX_NGRAM`] at
/// most and `ngram` at least, and of equal ones the latest.
///
/// A scan instead of an index: it reads four bytes for each token where attention, in the same step, reads thousands.
fn lookup(tokens: &[u32], ngram: usize) -> Option<usize> {
    let (last, earlier) = tokens.split_last()?;
    let (mut best, mut agreed) = (None, ngram - 1);
    for (i, _) in earlier.iter().enumerate().rev().filter(|(_, token)| *token == last) {
        let pairs = earlier[..i].iter().rev().zip(earlier.iter().rev());
        let agree = 1 + pairs.take(MAX_NGRAM - 1).take_while(|(a, b)| a == b).count();
        if agree > agreed {
            (best, agreed) = (Some(i + 1), agree);
        }
        if agreed == MAX_NGRAM {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drafter(draft: usize, ngram: usize) -> Drafter {
        Drafter::new(Speculation::PromptLookup { draft, ngram })
    }

    #[test]
    fn what_followed_before_is_guessed() {
        // Tokens, the shortest match, the guess.
        let cases: [(&[u32], usize, &[u32]); 9] = [
            (&[], 1, &[]),
            (&[1], 1, &[]),
            (&[1, 2, 3], 1, &[]),
            (&[1, 2, 3, 4, 1], 1, &[2, 3, 4]),
            (&[1, 2, 3, 4, 1], 2, &[]),
            (&[1, 2, 3, 4, 5, 1, 2], 2, &[3, 4, 5]),
            // The latest of equal ones; the longest before the latest.
            (&[1, 2, 3, 3, 1, 2, 4, 4, 1, 2], 2, &[4, 4, 1]),
            (&[9, 1, 2, 3, 3, 1, 2, 4, 4, 9, 1, 2], 2, &[3, 3, 1]),
            // A loop goes on.
            (&[7, 1, 2, 1, 2], 2, &[1, 2, 1]),
        ];
        for (tokens, ngram, guess) in cases {
            let mut drafter = drafter(3, ngram);
            drafter.guess(tokens, 9);
            assert_eq!(drafter.draft(), guess, "{tokens:?}");
        }
    }

    #[test]
    fn no_more_is_computed_than_there_is_room_for() {
        let mut drafter = drafter(3, 1);
        for (room, draft) in [(0, &[][..]), (2, &[2, 3]), (9, &[2, 3, 4])] {
            drafter.guess(&[1, 2, 3, 4, 1], room);
            assert_eq!(drafter.draft(), draft);
        }
    }

    /// Right and wrong guesses, and whether the next one is computed.
    #[test]
    fn guesses_are_computed_while_they_come_true() {
        let mut drafter = drafter(3, 1);
        let mut computed = String::new();
        for outcome in "-+--++---++++-+--+".chars() {
            drafter.guess(&[5, 6, 5], 9);
            computed.push(if drafter.draft().is_empty() { '.' } else { 'x' });
            drafter.learn(if outcome == '+' { 6 } else { 5 });
        }
        assert_eq!(computed, "x.x...x....xxxxxx.");
    }

    #[test]
    fn trust_does_not_change_without_a_guess() {
        let mut drafter = drafter(3, 2);
        for token in 0..5 {
            drafter.guess(&[1, 2, 3], 9);
            drafter.learn(token);
        }
        drafter.guess(&[1, 2, 3, 1, 2], 9);
        assert_eq!(drafter.draft(), [3, 1, 2]);
    }

    proptest! {
        /// The scan finds what its definition says.
        #[test]
        fn the_longest_and_latest_place_is_found(tokens in prop::collection::vec(0u32..3, 0..60), ngram in 1..=MAX_NGRAM) {
            let agree = |at: usize| {
                let pairs = tokens[..at].iter().rev().zip(tokens.iter().rev());
                pairs.take_while(|(a, b)| a == b).count().min(MAX_NGRAM)
            };
            let places = (1..tokens.len()).filter(|&at| agree(at) >= ngram);
            prop_assert_eq!(lookup(&tokens, ngram), places.max_by_key(|&at| (agree(at), at)));
        }
    }
}
