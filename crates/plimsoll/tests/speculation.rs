//! Speculation on the shipped models: the same answers in fewer steps.

use std::path::Path;

use plimsoll::{Engine, Event, Finished, Generate, Generation, Request, Speculation, Token, Usage};

const STORY: &str = "Tell me a story about a fox, a river and a hat.";

fn engine() -> Engine {
    Engine::from_lock(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models.lock")).unwrap()
}

/// What a reader is told.
struct Told {
    tokens: Vec<Token>,
    text: String,
    end: Finished,
}

fn read(generation: Generation) -> Told {
    let (mut tokens, mut text) = (Vec::new(), String::new());
    for event in generation.blocking() {
        match event.unwrap() {
            Event::Token(token) => tokens.push(token),
            Event::Text(more) => text.push_str(&more),
            Event::Finished(end) => return Told { tokens, text, end },
            _ => {}
        }
    }
    panic!("no last event");
}

fn run(model: &dyn Generate, request: Request) -> Told {
    read(model.start(request).unwrap())
}

/// Questions, text that goes on and on, and a story told twice; each greedy and drawn, with every way to end.
fn requests() -> Vec<Request> {
    let json = "Extract name, age and city as JSON. In Lisbon lives Anna, who is 42.";
    let again = || Request::chat().user(STORY).assistant("Once there was a fox").user(STORY);
    let asked = [
        Request::chat().user(json).max_tokens(64),
        Request::prompt("one two three one two three one two").max_tokens(60).ignore_eos(),
        again().max_tokens(48).ignore_eos(),
        again().max_tokens(48).ignore_eos().repetition_penalty(1.2).presence_penalty(0.5),
        again().max_tokens(7),
        again().stop("hat"),
    ];
    let both = |request: Request| [request.clone().temperature(0.0), request.temperature(0.8).seed(11)];
    asked.into_iter().flat_map(both).map(|request| request.logprobs(2)).collect()
}

/// Log-probabilities are equal bit for bit, except on candle, whose sums depend on the shape of a step.
fn assert_same(model: &dyn Generate, plain: &Told, guessed: &Told) {
    let tolerance = if model.info().backend.starts_with("candle") { 1e-3 } else { 0.0 };
    let numbers = |token: &Token| {
        let top = token.top.iter().map(|alternative| alternative.logprob);
        token.logprob.into_iter().chain(top).collect::<Vec<_>>()
    };
    let ids = |told: &Told| told.tokens.iter().map(|token| token.id).collect::<Vec<_>>();
    let name = &model.info().name;
    assert_eq!(ids(plain), ids(guessed), "{name}: {}", plain.text);
    assert_eq!((&plain.text, &plain.end.reason), (&guessed.text, &guessed.end.reason), "{name}");
    for (a, b) in plain.tokens.iter().zip(&guessed.tokens) {
        for (a, b) in numbers(a).into_iter().zip(numbers(b)) {
            assert!((a - b).abs() <= tolerance, "{name}: {a} {b}");
        }
    }
    let Usage { prompt, completion, .. } = plain.end.usage;
    assert_eq!((prompt, completion), (guessed.end.usage.prompt, guessed.end.usage.completion), "{name}");
    assert_eq!((plain.end.usage.drafted, plain.end.usage.accepted), (0, 0), "{name}");
}

#[test]
fn answers_are_the_same_alone_and_together() {
    let engine = engine();
    for name in engine.models() {
        let model = &*engine.load(name).unwrap();
        let plain: Vec<Told> = requests().into_iter().map(|request| run(model, request)).collect();
        let guessing = || requests().into_iter().map(|request| request.speculation(Speculation::PROMPT_LOOKUP));
        let alone: Vec<Told> = guessing().map(|request| run(model, request)).collect();
        let started: Vec<Generation> = guessing().map(|request| model.start(request).unwrap()).collect();
        let together: Vec<Told> = started.into_iter().map(read).collect();
        for guessed in [&alone, &together] {
            plain.iter().zip(guessed).for_each(|(plain, guessed)| assert_same(model, plain, guessed));
        }
        let usage = |of: fn(&Usage) -> usize| alone.iter().map(|told| of(&told.end.usage)).sum::<usize>();
        let (drafted, accepted) = (usage(|usage| usage.drafted), usage(|usage| usage.accepted));
        assert!(accepted > 0 && accepted < drafted, "{name}: {accepted} of {drafted}");
    }
}

#[test]
fn a_prefix_that_was_guessed_is_found_and_says_the_same() {
    let model = &*engine().load("default").unwrap();
    let other = &*engine().load("default").unwrap();
    let ids = |told: &Told| told.tokens.iter().map(|token| token.id).collect::<Vec<u32>>();
    let prompt: Vec<u32> = [5, 6, 7, 8, 9].repeat(6);
    let request = |prompt: &[u32], tokens| Request::ids(prompt).max_tokens(tokens).temperature(0.0).ignore_eos();
    let first = run(model, request(&prompt, 40).speculation(Speculation::PROMPT_LOOKUP));
    assert!(first.end.usage.accepted > 0 && first.end.usage.accepted < first.end.usage.drafted);
    let longer = [prompt, ids(&first)].concat();
    let second = run(model, request(&longer, 20));
    assert_eq!(second.end.usage.cached, 64, "whole blocks of the 69 that were computed");
    assert_eq!(ids(&second), ids(&run(other, request(&longer, 20))));
}
