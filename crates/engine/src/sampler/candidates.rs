//! The tokens that may still be drawn.
//!
//! Whatever survives is a prefix of the tokens in the order of their logits, and so a draw is a place in that order. Where a
//! device has found the largest logits of a row, the list is a prefix as well, and how much the others weigh is known within
//! bounds. What both bounds agree on is what the whole row would give; where they do not, the row is read.

use std::cmp::Ordering;

use plimsoll_backend::Top;

/// Tokens with their logits and, once [weighed](Candidates::weigh), probabilities up to a common factor.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    /// Whether the list is in [`descending`] order.
    sorted: bool,
    rest: Rest,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    logit: f32,
    weight: f64,
}

/// Candidates behind all that are listed.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// How many there are at most.
    count: usize,
    /// What one of them weighs at most.
    each: f64,
    /// What they weigh together: at least, and at most.
    weight: [f64; 2],
}

/// Most probable first, equal ones by id: a total order, so that ties never depend on an algorithm.
fn descending(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// The weight of a logit beside the highest: in `0..=1`, whatever the temperature.
fn weight(logit: f32, highest: f32, temperature: f32) -> f64 {
    ((f64::from(logit) - f64::from(highest)) / f64::from(temperature)).exp()
}

impl Candidates {
    /// All tokens that are not banned.
    pub(super) fn new(logits: &[f32]) -> Self {
        let candidate = |(id, &logit): (usize, &f32)| Candidate { id: id as u32, logit, weight: 0.0 };
        let list = logits.iter().enumerate().map(candidate).filter(|c| c.logit > f32::NEG_INFINITY).collect();
        Self { list, sorted: false, rest: Rest::default() }
    }

    /// Tokens below `vocab` that a device has found, once `adjust` has lowered their logits, as it lowers those of at most
    /// `lowered` others.
    pub(super) fn listed(
        top: &Top,
        vocab: usize,
        temperature: f32,
        lowered: usize,
        adjust: impl Fn(u32, f32) -> f32,
    ) -> Self {
        let found = || top.tokens.iter().filter(|(id, _)| (*id as usize) < vocab);
        let candidate = |&(id, logit): &(u32, f32)| Candidate { id, logit: adjust(id, logit), weight: 0.0 };
        let mut list: Vec<_> = found().map(candidate).filter(|c| c.logit > f32::NEG_INFINITY).collect();
        list.sort_unstable_by(descending);
        let (Some(first), Some(last), Some(highest)) = (top.tokens.first(), top.tokens.last(), list.first()) else {
            return Self::default();
        };
        let weight = |logit: f32| weight(logit, highest.logit, temperature);
        let mut rest = Rest::default();
        if top.others > 0 {
            let each = weight(last.1);
            // Beside one that cannot be drawn the others may be too small to count.
            let all = if (first.0 as usize) < vocab { top.weight * weight(first.1) } else { f64::NAN };
            let seen: f64 = found().map(|(_, logit)| weight(*logit)).sum();
            let [least, most] = [1.0 - Top::ERROR, 1.0 + Top::ERROR].map(|error| all * error - seen);
            // What is no number, here or at temperatures next to 0, leaves the second of each.
            let least = (least - lowered as f64 * each).max(0.0);
            let most = most.min(top.others as f64 * each).max(0.0);
            // What was lowered beyond the last may be behind one that was not found.
            let last = Candidate { id: last.0, logit: last.1, weight: 0.0 };
            let kept = list.partition_point(|c| descending(c, &last).is_le());
            let fallen: f64 = list[kept..].iter().map(|c| weight(c.logit)).sum();
            let count = top.others + list.len() - kept;
            rest = Rest { count, each, weight: [least + fallen, most + fallen] };
            list.truncate(kept);
        }
        Self { list, sorted: true, rest }
    }

    /// The most probable of those that are sorted.
    pub(super) fn first(&self) -> Option<u32> {
        self.list.first().map(|c| c.id)
    }

    /// Keeps the `k` most probable; 0 keeps all. The temperature does not change which these are.
    pub(super) fn top_k(&mut self, k: usize) {
        let listed = self.list.len();
        if k == 0 || k >= listed + self.rest.count {
            return;
        }
        if k > listed {
            self.rest.count = k - listed;
            self.rest.weight = [0.0, self.rest.weight[1].min(self.rest.count as f64 * self.rest.each)];
            return;
        }
        if !self.sorted {
            self.list.select_nth_unstable_by(k - 1, descending);
        }
        self.list.truncate(k);
        self.rest = Rest::default();
        self.sort();
    }

    /// Gives every listed candidate its weight at a temperature.
    pub(super) fn weigh(&mut self, temperature: f32) {
        let highest = self.list.iter().map(|c| c.logit).fold(f32::NEG_INFINITY, f32::max);
        for candidate in &mut self.list {
            candidate.weight = weight(candidate.logit, highest, temperature);
        }
    }

    /// Keeps the most probable that together reach probability `p`, the one that reaches it among them
    /// (nucleus sampling, arXiv 1904.09751).
    pub(super) fn top_p(&mut self, p: f32) {
        if p < 1.0 {
            self.nucleus(f64::from(p));
        }
    }

    /// Keeps those at least `p` times as probable as the most probable (arXiv 2407.01082), whose weight is 1.
    pub(super) fn min_p(&mut self, p: f32) {
        let p = f64::from(p);
        if p > 0.0 {
            self.list.retain(|c| c.weight >= p);
            self.rest.weight[0] = 0.0;
            if self.rest.each < p {
                self.rest = Rest::default();
            }
        }
    }

    /// The candidate at `uniform`, in `0..1`, of the cumulative distribution, the most probable first; none if there are no
    /// candidates, or if those that are not listed decide which it is.
    pub(super) fn draw(mut self, uniform: f64) -> Option<u32> {
        self.nucleus(uniform);
        if self.rest.count > 0 { None } else { self.list.last().map(|c| c.id) }
    }

    /// Keeps the most probable that together reach a share of all weight.
    fn nucleus(&mut self, share: f64) {
        let listed: f64 = self.list.iter().map(|c| c.weight).sum();
        let [least, most] = self.rest.weight.map(|rest| share * (listed + rest));
        if !self.sorted {
            // Those below this weight add up to less than is left out, so the cut lies above them. Of 152k candidates only
            // thousands are left to sort: 3 ms instead of 14.
            let negligible = (listed - least) / self.list.len() as f64;
            self.list.retain(|c| c.weight >= negligible);
            self.sort();
        }
        let Some((last, sum)) = self.reach(least) else {
            // Rounding may leave the sum below: then all are kept.
            if self.rest.count > 0 {
                self.rest.weight = [least - listed, most - listed + self.rest.each];
            }
            return;
        };
        if sum >= most {
            self.rest = Rest::default();
        } else {
            // Any of those behind may be the last, or none.
            let each = self.list.get(last + 1).map_or(self.rest.each, |next| next.weight);
            let count = self.rest.count + self.list.len() - last - 1;
            self.rest = Rest { count, each, weight: [0.0, most - sum + each] };
        }
        self.list.truncate(last + 1);
    }

    /// The first candidate that together with those before it weighs enough, and that weight.
    fn reach(&self, enough: f64) -> Option<(usize, f64)> {
        let mut sum = 0.0;
        let reaches = |c: &Candidate| {
            sum += c.weight;
            sum >= enough
        };
        let place = self.list.iter().position(reaches)?;
        Some((place, sum))
    }

    fn sort(&mut self) {
        if !self.sorted {
            self.list.sort_unstable_by(descending);
            self.sorted = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is cut off is less probable than whatever is left, and something is left.
        #[test]
        fn the_most_probable_survive(
            logits in prop::collection::vec(-20.0f32..20.0, 1..40),
            top_k in 0usize..40, top_p in 1e-6f32..=1.0, min_p in 0.0f32..=1.0, temperature in 0.1f32..3.0,
        ) {
            let all = Candidates::new(&logits).list;
            let mut kept = Candidates::new(&logits);
            kept.top_k(top_k);
            kept.weigh(temperature);
            kept.top_p(top_p);
            kept.min_p(min_p);
            let kept = kept.list;
            prop_assert!(!kept.is_empty());
            let is_kept = |c: &Candidate| kept.iter().any(|k| k.id == c.id);
            for cut in all.iter().filter(|&c| !is_kept(c)) {
                prop_assert!(kept.iter().all(|k| descending(k, cut) == Ordering::Less), "{cut:?} {kept:?}");
            }
        }

        /// The nucleus reaches `p` and would not without its last token.
        #[test]
        fn the_nucleus_is_the_smallest(logits in prop::collection::vec(-20.0f32..20.0, 1..200), p in 1e-6f32..1.0) {
            let mut candidates = Candidates::new(&logits);
            candidates.weigh(1.0);
            let total = |candidates: &Candidates| candidates.list.iter().map(|c| c.weight).sum::<f64>();
            let enough = total(&candidates) * f64::from(p);
            candidates.top_p(p);
            let (kept, last) = (total(&candidates), candidates.list.last().unwrap().weight);
            prop_assert!(kept >= enough * (1.0 - 1e-12), "{kept} {enough}");
            prop_assert!(kept - last < enough * (1.0 + 1e-12), "{kept} {last} {enough}");
        }
    }
}
