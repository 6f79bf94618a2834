//! Tables and properties of the sampler.

use proptest::prelude::*;

use super::*;

mod listed;

fn sampler(sampling: &Sampling) -> Sampler {
    Sampler::new(sampling, &[], usize::MAX, None)
}

/// The ids that `sampling` can draw from `logits`, in 2000 draws.
fn reachable(sampling: Sampling, logits: &[f32]) -> Vec<u32> {
    let sampling = Sampling { temperature: sampling.temperature.or(Some(1.0)), ..sampling };
    let mut ids: Vec<u32> = (0..2000)
        .map(|seed| sampler(&Sampling { seed: Some(seed), ..sampling.clone() }).choose(logits, 0).unwrap().id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Logits of these probabilities.
fn ln(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln()).collect()
}

#[test]
fn truncation_keeps_what_it_says() {
    let logits = ln(&[0.1, 0.4, 0.2, 0.3]);
    let none = Sampling::default;
    let cases: Vec<(&str, Sampling, &[u32])> = vec![
        ("all", none(), &[0, 1, 2, 3]),
        ("top_k 0 is all", Sampling { top_k: Some(0), ..none() }, &[0, 1, 2, 3]),
        ("top_k", Sampling { top_k: Some(2), ..none() }, &[1, 3]),
        ("top_k beyond the vocabulary", Sampling { top_k: Some(9), ..none() }, &[0, 1, 2, 3]),
        ("top_p keeps the one that reaches it", Sampling { top_p: Some(0.5), ..none() }, &[1, 3]),
        ("top_p below the first keeps it", Sampling { top_p: Some(0.01), ..none() }, &[1]),
        ("min_p", Sampling { min_p: Some(0.45), ..none() }, &[1, 2, 3]),
        ("min_p 1 keeps the first", Sampling { min_p: Some(1.0), ..none() }, &[1]),
        ("top_p sees what top_k left", Sampling { top_k: Some(3), top_p: Some(0.75), ..none() }, &[1, 3]),
        ("top_p sees the temperature", Sampling { temperature: Some(0.1), top_p: Some(0.9), ..none() }, &[1]),
        ("a tiny temperature is greedy", Sampling { temperature: Some(1e-40), ..none() }, &[1]),
        ("a bias bans", Sampling { logit_bias: vec![(1, f32::NEG_INFINITY)], ..none() }, &[0, 2, 3]),
        ("a bias forces", Sampling { logit_bias: vec![(0, 1e30)], ..none() }, &[0]),
    ];
    for (what, sampling, expected) in cases {
        assert_eq!(reachable(sampling, &logits), expected, "{what}");
    }
}

#[test]
fn ties_go_to_the_lowest_ids() {
    let logits = [1.0, 2.0, 2.0, 2.0];
    assert_eq!(sampler(&Sampling::default()).choose(&logits, 0).unwrap().id, 1);
    assert_eq!(reachable(Sampling { top_k: Some(2), ..Sampling::default() }, &logits), [1, 2]);
    assert_eq!(top_logprobs(&logits, 2).iter().map(|&(id, _)| id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn penalties_change_logits_of_what_was_said() {
    // Prompt [0, 1]; completion [1, 2, 2]; logits 2, -2, 2, 2.
    let penalties = [
        ("repetition", Sampling { repetition_penalty: Some(2.0), ..Sampling::default() }, [1.0, -4.0, 1.0, 2.0]),
        ("presence", Sampling { presence_penalty: Some(0.5), ..Sampling::default() }, [2.0, -2.5, 1.5, 2.0]),
        ("frequency", Sampling { frequency_penalty: Some(0.5), ..Sampling::default() }, [2.0, -2.5, 1.0, 2.0]),
        (
            "all",
            Sampling {
                repetition_penalty: Some(2.0),
                presence_penalty: Some(1.0),
                frequency_penalty: Some(-0.25),
                ..Sampling::default()
            },
            [1.0, -4.75, 0.5, 2.0],
        ),
    ];
    for (what, sampling, expected) in penalties {
        let mut penalties = Penalties::new(&sampling, &[0, 1]);
        for token in [1, 2, 2] {
            penalties.count(token);
        }
        let logits = [(0, 2.0), (1, -2.0), (2, 2.0), (3, 2.0)].map(|(token, logit)| penalties.apply(token, logit));
        assert_eq!(logits, expected, "{what}");
    }
}

#[test]
fn bias_comes_before_penalties() {
    let sampling = Sampling { logit_bias: vec![(0, 2.0)], repetition_penalty: Some(2.0), ..Sampling::default() };
    let sampler = Sampler::new(&sampling, &[0], usize::MAX, None);
    assert_eq!(*sampler.adjust(&[2.0, 1.0]), [2.0, 1.0]);
}

#[test]
fn logprobs_are_those_of_the_raw_logits() {
    let sampling = Sampling { logit_bias: vec![(2, 100.0)], temperature: Some(0.3), ..Sampling::default() };
    let mut sampler = Sampler::new(&sampling, &[], usize::MAX, Some(2));
    let token = sampler.choose(&ln(&[0.5, 0.375, 0.125]), 0).unwrap();
    assert_eq!(token.id, 2);
    assert!((token.logprob.unwrap() - 0.125f32.ln()).abs() < 1e-6);
    assert_eq!(token.top.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [0, 1]);
    assert!((token.top[1].1 - 0.375f32.ln()).abs() < 1e-6);
}

#[test]
fn ids_beyond_the_vocabulary_are_masked() {
    let mut sampler = Sampler::new(&Sampling::default(), &[], 2, None);
    assert_eq!(sampler.choose(&[0.0, 1.0, 9.0], 0).unwrap().id, 1);
}

#[test]
fn unusable_logits_are_errors() {
    let banned = Sampling { logit_bias: vec![(0, f32::NEG_INFINITY), (1, f32::NEG_INFINITY)], ..Sampling::default() };
    let hot = Sampling { temperature: Some(1.0), ..banned.clone() };
    let cases: [(&Sampling, &[f32], &str); 5] = [
        (
            &Sampling::default(),
            &[0.0, f32::NAN],
            "logits at position 7: found NaN for token 1, expected a finite number",
        ),
        (
            &Sampling::default(),
            &[f32::INFINITY, 0.0],
            "logits at position 7: found inf for token 0, expected a finite number",
        ),
        (
            &Sampling::default(),
            &[f32::NEG_INFINITY],
            "logits at position 7: found -inf for token 0, expected a finite number",
        ),
        (&banned, &[0.0, 1.0], "logit_bias: every token at position 7 is banned, expected at least one that is not"),
        (&hot, &[0.0, 1.0], "logit_bias: every token at position 7 is banned, expected at least one that is not"),
    ];
    for (sampling, logits, message) in cases {
        assert_eq!(sampler(sampling).choose(logits, 7).unwrap_err().to_string(), message);
    }
}

/// Draws follow the distribution: chi-squared of 20,000 draws against the softmax, three degrees of freedom.
#[test]
fn draws_follow_the_softmax() {
    const N: u32 = 20_000;
    let probabilities = [0.1, 0.4, 0.2, 0.3];
    let logits = ln(&probabilities);
    let mut sampler = sampler(&Sampling { temperature: Some(1.0), seed: Some(11), ..Sampling::default() });
    let mut counts = [0u32; 4];
    for position in 0..N {
        counts[sampler.choose(&logits, position as usize).unwrap().id as usize] += 1;
    }
    let chi: f32 = counts
        .iter()
        .zip(probabilities)
        .map(|(&count, p)| (count as f32 - N as f32 * p).powi(2) / (N as f32 * p))
        .sum();
    assert!(chi < 16.27, "{chi} exceeds the 99.9 % quantile: {counts:?}");
}

fn any_sampling() -> impl Strategy<Value = Sampling> {
    let bias = prop_oneof![Just(f32::NEG_INFINITY), -1e38f32..1e38];
    (
        prop::option::of(prop_oneof![Just(0.0f32), 1e-44f32..1e-30, 0.1f32..2.0, Just(f32::MAX)]),
        prop::option::of(0usize..40),
        prop::option::of(prop_oneof![1e-6f32..1.0, Just(1.0f32)]),
        prop::option::of(0.0f32..=1.0),
        prop::option::of(prop_oneof![1e-38f32..1e-30, 0.5f32..2.0, Just(f32::MAX)]),
        prop::option::of(prop_oneof![-2.0f32..2.0, Just(f32::MAX), Just(f32::MIN)]),
        prop::collection::vec((0u32..40, bias), 0..4),
        any::<u64>(),
    )
        .prop_map(|(temperature, top_k, top_p, min_p, repetition_penalty, penalty, logit_bias, seed)| Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            presence_penalty: penalty,
            frequency_penalty: penalty,
            logit_bias,
            seed: Some(seed),
        })
}

proptest! {
    /// Whatever passes validation: the same draw twice, a token of the vocabulary that is not banned, or all are.
    #[test]
    fn choices_are_valid_and_repeatable(
        sampling in any_sampling(),
        logits in prop::collection::vec(prop_oneof![-20.0f32..20.0, Just(f32::MAX), Just(f32::MIN)], 1..40),
        prompt in prop::collection::vec(0u32..40, 0..8),
        position in 0usize..1000,
    ) {
        sampling.validate(40).unwrap();
        let choose = || Sampler::new(&sampling, &prompt, usize::MAX, Some(3)).choose(&logits, position);
        let banned = |id: u32| sampling.logit_bias.contains(&(id, f32::NEG_INFINITY));
        match (choose(), choose()) {
            (Ok(a), Ok(b)) => {
                prop_assert_eq!(&a, &b);
                prop_assert!((a.id as usize) < logits.len());
                prop_assert!(!banned(a.id));
                prop_assert!(a.logprob.unwrap() <= 1e-6);
                prop_assert!(a.logprob.unwrap() <= a.top[0].1);
            }
            (Err(Error::NothingToChoose { .. }), Err(_)) => prop_assert!((0..logits.len()).all(|id| banned(id as u32))),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
