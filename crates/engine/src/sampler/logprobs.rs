//! Log-probabilities: the log-softmax of raw logits.

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
