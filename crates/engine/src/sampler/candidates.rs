//! The tokens that may still be drawn.

use std::cmp::Ordering;

/// Tokens with their logits and, once [weighed](Candidates::weigh), probabilities up to a common factor.
#[derive(Debug)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    /// Whether the list is in [`descending`] order.
    sorted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    logit: f32,
    weight: f64,
}

/// Most probable first, equal ones by id: a total order, so that ties never depend on an algorithm.
fn descending(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

impl Candidates {
    /// All tokens that are not banned.
    pub(super) fn new(logits: &[f32]) -> Self {
        let candidate = |(id, &logit): (usize, &f32)| Candidate { id: id as u32, logit, weight: 0.0 };
        let list = logits.iter().enumerate().map(candidate).filter(|c| c.logit > f32::NEG_INFINITY).collect();
        Self { list, sorted: false }
    }

    /// Keeps the `k` most probable; 0 keeps all. The temperature does not change which these are.
    pub(super) fn top_k(&mut self, k: usize) {
        if k > 0 && k < self.list.len() {
            self.list.select_nth_unstable_by(k - 1, descending);
            self.list.truncate(k);
            self.sort();
        }
    }

    /// Gives every candidate the weight `exp((logit - highest) / temperature)`: in `0..=1`, whatever the temperature.
    pub(super) fn weigh(&mut self, temperature: f32) {
        let highest = self.list.iter().map(|c| c.logit).fold(f32::NEG_INFINITY, f32::max);
        for candidate in &mut self.list {
            candidate.weight = ((f64::from(candidate.logit) - f64::from(highest)) / f64::from(temperature)).exp();
        }
    }

    /// Keeps the most probable that together reach probability `p`, the one that reaches it among them
    /// (nucleus sampling, arXiv 1904.09751).
    pub(super) fn top_p(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        let total = self.total();
        let enough = f64::from(p) * total;
        // Those below this weight add up to less than is left out, so the cut lies above them. Of 152k candidates only
        // thousands are left to sort: 3 ms instead of 14.
        let negligible = (total - enough) / self.list.len() as f64;
        self.list.retain(|c| c.weight >= negligible);
        self.sort();
        let mut sum = 0.0;
        let reaches = |c: &Candidate| {
            sum += c.weight;
            sum >= enough
        };
        if let Some(last) = self.list.iter().position(reaches) {
            self.list.truncate(last + 1);
        }
    }

    /// Keeps those at least `p` times as probable as the most probable (arXiv 2407.01082), whose weight is 1.
    pub(super) fn min_p(&mut self, p: f32) {
        if p > 0.0 {
            self.list.retain(|c| c.weight >= f64::from(p));
        }
    }

    /// The candidate at `uniform`, in `0..1`, of the cumulative distribution; none if there are no candidates.
    pub(super) fn draw(&self, uniform: f64) -> Option<u32> {
        let target = uniform * self.total();
        let mut sum = 0.0;
        let reached = self.list.iter().find(|c| {
            sum += c.weight;
            sum > target
        });
        // Rounding may leave the sum at the target: then the last one that has any weight.
        reached.or_else(|| self.list.iter().rfind(|c| c.weight > 0.0)).map(|c| c.id)
    }

    fn total(&self) -> f64 {
        self.list.iter().map(|c| c.weight).sum()
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
            let enough = candidates.total() * f64::from(p);
            candidates.top_p(p);
            let (kept, last) = (candidates.total(), candidates.list.last().unwrap().weight);
            prop_assert!(kept >= enough * (1.0 - 1e-12), "{kept} {enough}");
            prop_assert!(kept - last < enough * (1.0 + 1e-12), "{kept} {last} {enough}");
        }
    }
}
