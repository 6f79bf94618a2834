//! Log-probabilities: the log-softmax of raw logits.

use plimsoll_backend::Top;

/// `ln(sum(exp(logits)))`, in double precision and in a fixed order.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    highest + logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).sum::<f64>().ln()
}

/// The `n` most probable ids with their log-probabilities, most probable first, equal ones by id.
pub(crate) fn top_logprobs(logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    let n = n.min(logits.len());
    if n == 0 {
        return Vec::new();
    }
    let order = |&a: &u32, &b: &u32| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b));
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    ids.select_nth_unstable_by(n - 1, order);
    ids.truncate(n);
    ids.sort_unstable_by(order);
    let sum = log_sum_exp(logits);
    ids.into_iter().map(|id| (id, (f64::from(logits[id as usize]) - sum) as f32)).collect()
}

/// The log-probability of `id` and those of the `n` most probable, from what a device has found; none if it has not found
/// all of them.
pub(super) fn listed_logprobs(top: &Top, id: u32, n: usize) -> Option<(f32, Vec<(u32, f32)>)> {
    if n > top.tokens.len() && top.others > 0 {
        return None;
    }
    let sum = f64::from(top.tokens.first()?.1) + top.sum.ln();
    let logprob = |&(id, logit): &(u32, f32)| (id, (f64::from(logit) - sum) as f32);
    let own = top.tokens.iter().find(|(found, _)| *found == id)?;
    Some((logprob(own).1, top.tokens.iter().take(n).map(logprob).collect()))
}
