//! Answers with guesses, as their readers see them.

use super::*;
use crate::Speculation;

const GUESS: Speculation = Speculation::PromptLookup { draft: 5, ngram: 2 };

/// The events without what speculation and time change in them, and how many guesses came true.
fn told(local: &Local, request: Request) -> (Vec<Event>, usize) {
    let mut accepted = 0;
    let same = |event| match event {
        Event::Finished(mut finished) => {
            accepted = finished.usage.accepted;
            assert!(accepted <= finished.usage.drafted);
            (finished.usage.drafted, finished.usage.accepted) = (0, 0);
            finished.timings = Default::default();
            Event::Finished(finished)
        }
        other => other,
    };
    (run(local, request).events.into_iter().map(same).collect(), accepted)
}

/// The prompt says it all, `ab` again, and the model repeats the rest: `c` comes from the prompt's step, and what ends
/// the answer is among the five guesses that follow.
#[test]
fn every_way_to_end_within_a_guess() {
    let q = |prompt: &str| Request::prompt(prompt).max_tokens(9).seed(1).logprobs(2);
    type Change = fn(Request) -> Request;
    let cases: [(&str, Change, usize); 8] = [
        ("abcdefgh<end>ijkl", |r| r, 5),
        ("abcde<end>fghijk", |r| r, 3),
        ("abcde<end>fghijk", |r| r.ignore_eos(), 5),
        ("abcde<end>fghijk", |r| r.ignore_eos().stop_token(5), 4),
        ("abcdefghijklmn", |r| r.max_tokens(4), 2),
        ("abcdefghijklmn", |r| r.stop("ef"), 3),
        ("abcdefghijklmn", |r| r.stop("fg").stop("defz"), 4),
        ("abcdéfghijklmn", |r| r.stop("é"), 3),
    ];
    for (text, change, least) in cases {
        let prompt = format!("{text}q{}", &text[..2]);
        let lines = format!("{text}q{text}");
        let engine = || local(Script(ids(&lines)), options(16, 16, 4));
        let (plain, none) = told(&engine(), change(q(&prompt)));
        let (guessed, accepted) = told(&engine(), change(q(&prompt).speculation(GUESS)));
        assert_eq!(plain, guessed, "{text}");
        assert_eq!(none, 0);
        assert!(accepted >= least, "{text}: {accepted}");
    }
}

#[test]
fn requests_that_guess_and_others_run_side_by_side() {
    let request = |seed: u32| {
        let prompt: Vec<u32> = (0..10 + seed % 7).map(|i| i % 5).collect();
        let few = (0..3).fold(Request::ids(prompt), |request, token| request.logit_bias(token, 3.0));
        few.max_tokens(40).temperature(seed as f32 % 2.0).seed(seed.into()).ignore_eos().stop("abca").logprobs(3)
    };
    let (busy, quiet) = (babbles(), babbles());
    let guessing = |seed: u32| if seed.is_multiple_of(3) { request(seed) } else { request(seed).speculation(GUESS) };
    let together: Vec<_> = (0..20).map(|seed| busy.start(guessing(seed)).unwrap()).collect();
    let mut accepted = 0;
    for (seed, generation) in together.into_iter().enumerate() {
        let (guessed, plain) = (read(generation), run(&quiet, request(seed as u32)));
        assert_eq!((&guessed.tokens, &guessed.texts), (&plain.tokens, &plain.texts), "seed {seed}");
        let (guessed, plain) = (guessed.end.unwrap(), plain.end.unwrap());
        assert_eq!((guessed.reason, guessed.usage.completion), (plain.reason, plain.usage.completion), "seed {seed}");
        accepted += guessed.usage.accepted;
    }
    assert!(accepted > 0);
}

#[test]
fn an_engine_without_room_for_guesses_says_so() {
    let local = local(Fake::new(cache(32, 4)), Options { draft_tokens: 0, ..options(16, 8, 4) });
    let error = local.start(Request::ids([1]).speculation(Speculation::PROMPT_LOOKUP)).unwrap_err();
    assert_eq!(error.to_string(), "speculation is not supported by an engine with 0 draft_tokens");
}
