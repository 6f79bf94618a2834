//! What is chosen from a device's findings is what the whole row gives.

use plimsoll_backend::naive;

use super::*;

/// What a device finds in a row; its sums are off by a share of what they may be off by.
fn found(sampler: &Sampler, logits: &[f32], count: usize, off: f64) -> Top {
    let top = naive::top(logits, sampler.draws(), count);
    let off = 1.0 + off * Top::ERROR;
    Top { sum: top.sum * off, weight: top.weight * off, ..top }
}

/// Log-probabilities may differ by what the sums may be off by, and by the rounding of f32.
fn same(listed: &Choice, whole: &Choice) -> bool {
    let near = |a: f32, b: f32| (a - b).abs() <= 2e-5 + 1e-6 * b.abs();
    let logprobs = match (listed.logprob, whole.logprob) {
        (Some(a), Some(b)) => near(a, b),
        (a, b) => a == b,
    };
    let tops = listed.top.iter().zip(&whole.top).all(|(a, b)| a.0 == b.0 && near(a.1, b.1));
    listed.id == whole.id && logprobs && tops && listed.top.len() == whole.top.len()
}

/// Logits as models have them: few are large, most are small, and some are equal.
fn row(vocab: usize, seed: u64, spread: f64) -> Vec<f32> {
    let logit = |id| {
        let level = -uniform(seed, id as u64).powf(0.3) * spread;
        (level * 64.0).round() as f32 / 64.0
    };
    (0..vocab).map(logit).collect()
}

fn lowering(sampling: Sampling) -> Sampling {
    let positive = |penalty: Option<f32>| penalty.map(f32::abs);
    Sampling {
        repetition_penalty: sampling.repetition_penalty.map(|penalty| penalty.max(1.0)),
        presence_penalty: positive(sampling.presence_penalty),
        frequency_penalty: positive(sampling.frequency_penalty),
        logit_bias: sampling.logit_bias.into_iter().map(|(token, bias)| (token, -bias.abs())).collect(),
        ..sampling
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever passes validation: the same token with the same log-probabilities, or none.
    #[test]
    fn choices_are_those_of_the_whole_row(
        sampling in prop_oneof![any_sampling(), any_sampling().prop_map(lowering)],
        (ids, spread, seed) in (1usize..400, 1.0f64..60.0, any::<u64>()),
        (count, off) in (1usize..65, -1.0f64..1.0),
        vocab in prop_oneof![Just(usize::MAX), 1usize..400],
        logprobs in prop::option::of(0usize..80),
        prompt in prop::collection::vec(0u32..40, 0..8),
        position in 0usize..1000,
    ) {
        let logits = row(ids, seed, spread);
        let sampler = || {
            let mut sampler = Sampler::new(&sampling, &prompt, vocab, logprobs);
            sampler.penalties.count(0);
            sampler
        };
        let top = found(&sampler(), &logits, count, off);
        let (listed, whole) = (sampler().choose_listed(&top, position), sampler().choose(&logits, position));
        match (listed.unwrap(), whole) {
            (None, _) => {}
            (Some(listed), Ok(whole)) => prop_assert!(same(&listed, &whole), "{listed:?} {whole:?}"),
            (Some(listed), Err(error)) => prop_assert!(false, "{listed:?} {error}"),
        }
    }
}

/// How many of 200 choices from a long row need the whole of it; the others are the same.
fn unserved(sampling: &Sampling, spread: f64, logprobs: Option<usize>) -> usize {
    const VOCAB: usize = 2000;
    let prompt: Vec<u32> = (0..VOCAB as u32).step_by(9).collect();
    let needs_row = |seed: &u64| {
        let sampling = Sampling { seed: Some(*seed), ..sampling.clone() };
        let sampler = || Sampler::new(&sampling, &prompt, VOCAB - 20, logprobs);
        let logits = row(VOCAB, *seed, spread);
        let top = found(&sampler(), &logits, 64, if seed.is_multiple_of(2) { 1.0 } else { -1.0 });
        let listed = sampler().choose_listed(&top, 3).unwrap();
        let whole = sampler().choose(&logits, 3).unwrap();
        assert!(listed.as_ref().is_none_or(|listed| same(listed, &whole)), "{listed:?} {whole:?}");
        listed.is_none()
    };
    (0..200).filter(needs_row).count()
}

#[test]
fn common_settings_need_no_whole_rows() {
    let none = || Sampling { temperature: Some(1.0), ..Sampling::default() };
    let warm = || Sampling { temperature: Some(0.7), top_p: Some(0.9), ..none() };
    let cases = [
        ("greedy", Sampling::default(), 0),
        ("greedy, penalized", Sampling { repetition_penalty: Some(1.1), ..Sampling::default() }, 0),
        ("top_k 50", Sampling { top_k: Some(50), ..none() }, 0),
        ("top_k 40, top_p 0.95", Sampling { top_k: Some(40), top_p: Some(0.95), ..none() }, 0),
        ("min_p", Sampling { min_p: Some(0.05), ..none() }, 0),
        ("temperature 0.7, top_p 0.9", warm(), 1),
        ("the same, penalized", Sampling { repetition_penalty: Some(1.1), ..warm() }, 4),
        ("the whole distribution", none(), 10),
        ("top_k 100", Sampling { top_k: Some(100), ..none() }, 30),
    ];
    for (what, sampling, most) in cases {
        let found = unserved(&sampling, 40.0, Some(20));
        assert!(found <= most, "{what}: {found} of 200 rows, expected at most {most}");
    }
}

#[test]
fn what_is_not_listed_is_not_guessed_at() {
    let cases = [
        ("a flat distribution", Sampling { temperature: Some(3.0), ..Sampling::default() }, None),
        ("a raised logit", Sampling { logit_bias: vec![(1979, 50.0)], ..Sampling::default() }, None),
        ("a penalty below 1", Sampling { repetition_penalty: Some(0.9), ..Sampling::default() }, None),
        ("more log-probabilities than are found", Sampling::default(), Some(65)),
    ];
    for (what, sampling, logprobs) in cases {
        let found = unserved(&sampling, 2.0, logprobs);
        assert!(found > 160, "{what}: {found} of 200 rows");
    }
}

#[test]
fn what_is_not_finite_is_said() {
    let mut sampler = sampler(&Sampling::default());
    let logits = [0.0, f32::INFINITY, 1.0, f32::NAN];
    let listed = sampler.choose_listed(&found(&sampler, &logits, 2, 0.0), 7).unwrap_err();
    assert_eq!(listed.to_string(), sampler.choose(&logits, 7).unwrap_err().to_string());
}
