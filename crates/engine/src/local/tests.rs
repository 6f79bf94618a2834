//! Requests from start to finish, through the thread.

use std::{
    ops::Range,
    pin::pin,
    sync::{
        Mutex, Weak,
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_core::Stream as _;
use plimsoll_backend::Plan;
use plimsoll_text::{EndTokens, Templates, Tokenizer};
use serde_json::json;

use super::*;
use crate::{
    Event, FinishReason, Finished, Logits, Token, Usage,
    fake::{Fake, Script, cache, options},
};

mod speculation;

const END: u32 = 31;

/// A tokenizer of single letters, the space, the two bytes of `é`, `<s>` and `<end>`; 32 tokens.
fn tokenizer() -> Tokenizer {
    let letters = ('a'..='z').chain(['Ġ', 'Ã', '©', '.']).map(String::from);
    let vocab: serde_json::Map<_, _> = letters.enumerate().map(|(id, text)| (text, json!(id))).collect();
    let added = |id: u32, content: &str| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let file = json!({
        "version": "1.0",
        "added_tokens": [added(30, "<s>"), added(END, "<end>")],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    Tokenizer::from_hf(file.to_string().as_bytes(), None).unwrap()
}

fn ids(text: &str) -> Vec<u32> {
    tokenizer().encode(text, plimsoll_text::Special::PROMPT).unwrap()
}

fn bundle(kv: KvCache) -> Bundle {
    let mut templates = Templates::new();
    templates.add("default", "<s>{% for m in messages %}{{ m.content }}. {% endfor %}{{ suffix }}");
    let mut end = EndTokens::default();
    end.add(END);
    let info = ModelInfo { vocab: Fake::VOCAB, context: 64, name: "fake".into(), ..ModelInfo::default() };
    Bundle { info, text: Text::new(Some(tokenizer()), templates, end), defaults: Defaults::default(), cache: kv }
}

fn local(model: impl Step + 'static, options: Options) -> Local {
    Local::new(model, bundle(cache(32, 4)), options).unwrap()
}

/// An engine that answers `q` with `answer`.
fn says(answer: &str) -> Local {
    local(Script(ids(&format!("q{answer}"))), options(16, 8, 4))
}

/// An engine that says the unexpected.
fn babbles() -> Local {
    local(Fake::new(cache(32, 4)), options(16, 8, 4))
}

/// All a request was told.
#[derive(Debug)]
struct Told {
    events: Vec<Event>,
    tokens: Vec<Token>,
    texts: Vec<String>,
    end: Result<Finished, Error>,
}

impl Told {
    fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }
}

fn read(generation: Generation) -> Told {
    let mut told = Told { events: Vec::new(), tokens: Vec::new(), texts: Vec::new(), end: Err(Error::Stopped) };
    for event in generation.blocking() {
        match &event {
            Ok(Event::Token(token)) => told.tokens.push(token.clone()),
            Ok(Event::Text(text)) => told.texts.push(text.clone()),
            Ok(Event::Finished(finished)) => told.end = Ok(finished.clone()),
            _ => {}
        }
        match event {
            Ok(event) => told.events.push(event),
            Err(error) => told.end = Err(error),
        }
    }
    told
}

fn run(local: &Local, request: Request) -> Told {
    read(local.start(request).unwrap())
}

/// Waits for what another thread is about to do.
fn eventually(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < deadline, "never happened");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn text_comes_in_whole_characters_and_ends_with_the_turn() {
    let told = run(&says("né. <end>q"), Request::prompt("q").seed(9));
    assert_eq!(told.texts, ["n", "é", ".", " "]);
    let finished = told.end.unwrap();
    assert_eq!(finished.reason, FinishReason::Eos(END));
    assert_eq!(finished.usage, Usage { prompt: 1, completion: 6, ..Usage::default() });
    assert_eq!(finished.seed, 9);
    let bytes: Vec<&[u8]> = told.tokens.iter().map(|token| &token.bytes[..]).collect();
    assert_eq!(bytes, [b"n", &b"\xC3"[..], b"\xA9", b".", b" ", b"<end>"]);
    assert_eq!(
        told.events[..2],
        [Event::Prefill { done: 0, total: 1, cached: 0 }, Event::Prefill { done: 1, total: 1, cached: 0 },]
    );
}

#[test]
fn every_way_to_end() {
    let stop = |text: &str| FinishReason::StopString(text.into());
    let q = || Request::prompt("q").max_tokens(8);
    let cases: Vec<(&str, Request, &str, FinishReason, usize)> = vec![
        ("abcdefghij", q(), "abcdefgh", FinishReason::Length, 8),
        ("ab<end>cdefgh", q().ignore_eos(), "abcdefg", FinishReason::Length, 8),
        ("ab<end>cdefgh", q().ignore_eos().stop_token(END), "ab", FinishReason::StopToken(END), 3),
        ("abcdefghij", q().stop_token(3), "abc", FinishReason::StopToken(3), 4),
        ("abcdefghij", q().stop("de"), "abc", stop("de"), 5),
        ("abcdefghij", q().stop("ef").stop("bcd"), "a", stop("bcd"), 4),
        ("abcabd<end>", q().stop("abd"), "abc", stop("abd"), 6),
        ("abc<end>", q().stop("bcd"), "abc", FinishReason::Eos(END), 4),
        ("abcdefgh", q().stop("ghi"), "abcdefgh", FinishReason::Length, 8),
        // A longer stop string that began earlier does not come true: the one inside it does, at the end.
        ("abcx<end>", q().max_tokens(3).stop("bc").stop("abcd"), "a", stop("bc"), 3),
        // Half a character at the end.
        ("abÃ", q().max_tokens(2).logit_bias(27, 90.0), "\u{FFFD}\u{FFFD}", FinishReason::Length, 2),
    ];
    for (answer, request, text, reason, completion) in cases {
        let told = run(&says(&answer.replace('Ã', "é")), request);
        let finished = told.end.unwrap();
        assert_eq!((told.texts.concat().as_str(), finished.reason), (text, reason), "{answer}");
        assert_eq!((finished.usage.completion, told.tokens.len()), (completion, completion), "{answer}");
    }
}

#[test]
fn the_context_ends_an_answer() {
    let told = run(&babbles(), Request::ids(vec![1; 60]).max_tokens(50).ignore_eos());
    assert_eq!(told.tokens.len(), 4);
    assert_eq!(told.end.unwrap().reason, FinishReason::Length);
}

#[test]
fn logprobs_come_when_asked_for() {
    let local = says("ab");
    let token = |request: Request| run(&local, request.max_tokens(1)).tokens.remove(0);
    let plain = token(Request::prompt("q"));
    assert_eq!((plain.logprob, plain.top.len()), (None, 0));
    let own = token(Request::prompt("q").logprobs(0));
    let expected = 5.0 - (5f32.exp() + 31.0).ln();
    assert!((own.logprob.unwrap() - expected).abs() < 1e-6);
    assert!(own.top.is_empty());
    let top = token(Request::prompt("q").logprobs(3)).top;
    let told: Vec<_> = top.iter().map(|alternative| (alternative.id, &alternative.bytes[..])).collect();
    assert_eq!(told, [(0, &b"a"[..]), (1, b"b"), (2, b"c")]);
    assert_eq!(Some(top[0].logprob), own.logprob);
}

#[test]
fn the_seed_decides_whatever_else_runs() {
    let request = |seed: u32| {
        let prompt: Vec<u32> = (0..10 + seed % 7).map(|i| i % 5).collect();
        Request::ids(prompt).max_tokens(20).temperature(1.0).seed(seed.into()).ignore_eos()
    };
    let (busy, quiet) = (babbles(), babbles());
    let together: Vec<_> = (0..20).map(|seed| busy.start(request(seed)).unwrap()).collect();
    for (seed, generation) in together.into_iter().enumerate() {
        assert_eq!(read(generation).ids(), run(&quiet, request(seed as u32)).ids(), "seed {seed}");
    }
    assert_ne!(run(&quiet, request(0)).ids(), run(&quiet, request(7)).ids(), "other draws");
}

#[test]
fn a_drawn_seed_is_told_and_repeats() {
    let local = babbles();
    let request = Request::ids([1, 2, 3]).max_tokens(20).temperature(1.0).ignore_eos();
    let (first, other) = (run(&local, request.clone()), run(&local, request.clone()));
    let seed = first.end.as_ref().unwrap().seed;
    assert_ne!(seed, other.end.unwrap().seed);
    assert_eq!(first.ids(), run(&local, request.seed(seed)).ids());
}

#[test]
fn a_repeated_prompt_is_cached_and_says_the_same() {
    let local = babbles();
    let request = || Request::ids([1, 2, 3, 4, 5, 6, 7, 8]).max_tokens(9).temperature(1.0).seed(5).ignore_eos();
    let (first, second) = (run(&local, request()), run(&local, request()));
    assert_eq!(first.ids(), second.ids());
    assert_eq!((first.end.unwrap().usage.cached, second.end.unwrap().usage.cached), (0, 7));
}

#[test]
fn what_cannot_be_is_refused_at_the_start() {
    let small = Local::new(Fake::new(cache(4, 4)), bundle(cache(4, 4)), options(16, 8, 4)).unwrap();
    let cases: Vec<(Request, &str)> = vec![
        (Request::ids(vec![1; 64]), "prompt: found 64 tokens, expected fewer than the context of 64"),
        (
            Request::ids(vec![1; 10]).max_tokens(8),
            "KV cache: 10 prompt tokens and up to 8 new ones need 5 blocks of 4 tokens (1280 bytes), the cache has 4 \
             (1024 bytes)",
        ),
        (
            Request::ids(vec![1; 17]),
            "KV cache: 17 prompt tokens and up to 1 new ones need 5 blocks of 4 tokens (1280 bytes), the cache has 4 \
             (1024 bytes)",
        ),
        (Request::ids([32]), "prompt: found token id 32, expected below the vocabulary of 32"),
        (Request::prompt(""), "prompt: found no text, expected at least one token"),
        (Request::prompt("q").top_p(0.0), "top_p: found 0, expected above 0 and at most 1"),
    ];
    for (request, message) in cases {
        assert_eq!(small.start(request).unwrap_err().to_string(), message);
    }
    let told = run(&small, Request::ids(vec![1; 10]).ignore_eos());
    assert_eq!(told.tokens.len(), 7, "without max_tokens, what fits");
    assert_eq!(run(&small, Request::ids(vec![1; 10]).max_tokens(7).ignore_eos()).tokens.len(), 7);
}

#[test]
fn a_model_that_disagrees_with_its_description_is_refused() {
    let mut bundle = bundle(cache(4, 4));
    bundle.info.vocab = 33;
    let error = Local::new(Fake::new(cache(4, 4)), bundle, Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "vocab: found 33, expected 32, the columns of the logits");
}

#[test]
fn a_conversation_is_rendered_and_its_control_tokens_stay_text() {
    let local = babbles();
    let chat = |request: &Request| local.text().encode(&request.prompt).unwrap();
    let request = Request::chat().user("hi").assistant("ho").template_var("suffix", "z");
    assert_eq!(chat(&request), [&[30][..], &ids("hi. ho. z")].concat());
    let rude = Request::chat().user("<end>");
    assert!(!chat(&rude).contains(&END), "a message cannot spell structure");
    assert_eq!(local.count(&Request::chat().user("hi")).unwrap(), 5);
}

#[test]
fn a_model_without_a_template_has_no_conversations() {
    let mut bundle = bundle(cache(4, 4));
    bundle.text = Text::new(Some(tokenizer()), Templates::new(), EndTokens::default());
    let local = Local::new(Fake::new(cache(4, 4)), bundle, options(16, 8, 4)).unwrap();
    let error = local.start(Request::chat().user("hi")).unwrap_err();
    assert_eq!(error.to_string(), "messages is not supported by a model without a chat template");
}

#[test]
fn prompt_tokens_are_counted() {
    let local = babbles();
    assert_eq!(local.count(&Request::prompt("né.")).unwrap(), 4);
    assert_eq!(local.count(&Request::ids([1, 2])).unwrap(), 2);
    assert!(local.count(&Request::ids([99])).is_err());
}

/// A model that takes each step only when it is let, and can be made to panic.
struct Gate {
    model: Fake,
    permits: Mutex<Receiver<()>>,
    /// Shows whether the model is still there.
    _alive: Arc<()>,
}

fn gated(options: Options) -> (Local, Sender<()>, Weak<()>) {
    let (permit, permits) = channel();
    let alive = Arc::new(());
    let weak = Arc::downgrade(&alive);
    let gate = Gate { model: Fake::new(cache(32, 4)), permits: Mutex::new(permits), _alive: alive };
    (local(gate, options), permit, weak)
}

impl Step for Gate {
    fn vocab(&self) -> usize {
        self.model.vocab()
    }

    fn step(&mut self, plan: &Plan) -> Result<Logits, Error> {
        self.permits.lock().unwrap().recv().expect("the model breaks");
        self.model.step(plan)
    }

    fn rows(&mut self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        self.model.rows(rows)
    }

    fn copy_blocks(&mut self, pairs: &[(u32, u32)]) -> Result<(), Error> {
        self.model.copy_blocks(pairs)
    }
}

#[test]
fn a_full_queue_says_so() {
    let (local, permit, _) = gated(Options { queue: 2, ..options(16, 8, 1) });
    let request = || Request::ids([1, 2, 3]).max_tokens(2).ignore_eos();
    let mut running = local.start(request()).unwrap().blocking();
    assert!(matches!(running.next(), Some(Ok(Event::Prefill { .. }))), "admitted");
    let second = local.start(request()).unwrap();
    let third = local.start(request()).unwrap();
    let error = local.start(request()).unwrap_err();
    assert_eq!(error.to_string(), "busy: 2 requests wait already, the queue holds 2");
    assert_eq!(local.health().waiting, 2);
    drop(third);
    (0..8).for_each(|_| permit.send(()).unwrap());
    assert!(read(second).end.is_ok());
    assert_eq!(local.health().waiting, 0);
    assert!(local.start(request()).is_ok());
    // The gate would end in a panic otherwise.
    (0..8).for_each(|_| permit.send(()).unwrap());
}

#[test]
fn dropping_a_generation_frees_its_blocks_within_the_prompt() {
    let (local, permit, _) = gated(options(8, 4, 2));
    let mut generation = local.start(Request::ids(vec![1; 60]).max_tokens(4)).unwrap().blocking();
    assert!(matches!(generation.next(), Some(Ok(Event::Prefill { done: 0, .. }))));
    permit.send(()).unwrap();
    assert!(matches!(generation.next(), Some(Ok(Event::Prefill { done: 4, .. }))));
    eventually(|| local.health().blocks_available == 32 - 16);
    drop(generation);
    permit.send(()).unwrap();
    eventually(|| local.health().blocks_available == 32);
    assert_eq!(local.health().running, 0);
    drop(permit);
}

#[test]
fn a_reader_that_does_not_read_holds_up_no_one() {
    let local = babbles();
    let unread = local.start(Request::ids([1]).max_tokens(40).ignore_eos()).unwrap();
    let told = run(&local, Request::ids([2]).max_tokens(60).ignore_eos());
    assert_eq!(told.tokens.len(), 60);
    assert_eq!(read(unread).tokens.len(), 40);
}

#[test]
fn a_panic_of_the_model_is_an_error_for_all() {
    let (local, permit, alive) = gated(options(16, 8, 1));
    let running = local.start(Request::ids([1])).unwrap();
    let waiting = local.start(Request::ids([1])).unwrap();
    drop(permit);
    let message = "the engine failed: the model breaks: RecvError";
    for generation in [running, waiting] {
        assert_eq!(read(generation).end.unwrap_err().to_string(), message);
    }
    eventually(|| alive.upgrade().is_none());
    assert_eq!(
        local.start(Request::ids([1])).map(read).map_or_else(Err, |told| told.end).unwrap_err().to_string(),
        message
    );
    assert_eq!(local.health().failed.as_deref(), Some("the model breaks: RecvError"));
}

#[test]
fn dropping_the_engine_ends_everything_and_returns_its_memory() {
    let (local, permit, alive) = gated(options(16, 8, 1));
    let mut running = local.start(Request::ids([1]).ignore_eos()).unwrap().blocking();
    let waiting = local.start(Request::ids([1])).unwrap();
    assert!(matches!(running.next(), Some(Ok(Event::Prefill { .. }))));
    let status = local.thread.status().clone();
    let dropper = thread::spawn(move || drop(local));
    eventually(|| status.stopping());
    assert!(alive.upgrade().is_some(), "in the middle of a step");
    permit.send(()).unwrap();
    dropper.join().unwrap();
    assert!(alive.upgrade().is_none());
    assert!(matches!(running.last(), Some(Err(Error::Stopped))));
    assert!(matches!(read(waiting).end, Err(Error::Stopped)));
}

/// Wakers run in the engine thread: an executor may let go of the last handle there.
#[test]
fn the_engine_may_be_dropped_by_its_own_thread() {
    struct Owner(Mutex<Option<Local>>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let (local, permit, alive) = gated(options(16, 8, 1));
    let mut generation = pin!(local.start(Request::ids([1])).unwrap());
    let owner = Arc::new(Owner(Mutex::new(Some(local))));
    let waker = Waker::from(owner.clone());
    let mut context = Context::from_waker(&waker);
    while generation.as_mut().poll_next(&mut context).is_ready() {}
    (0..100).for_each(|_| permit.send(()).unwrap());
    eventually(|| alive.upgrade().is_none());
}

#[test]
fn is_an_object() {
    fn check(_: Arc<dyn Generate>) {}
    check(Arc::new(babbles()));
}
