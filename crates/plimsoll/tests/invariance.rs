//! On the CPU backend a sequence's logits have the same bits in chunks of any length, at one thread or two, alone or beside
//! others, computed from the start or behind a prefix that was there already.

mod common;

use std::path::{Path, PathBuf};

use common::Retyped;
use plimsoll::{CpuOptions, Event, Generation, Request, Settings, open_unlocked};
use plimsoll_backend::{Model, Plan, Sequence, TensorSource};
use plimsoll_cpu::Cpu;
use plimsoll_engine::{KvCache, Runner, Step};
use plimsoll_formats::blocks::{BF16, Q4_0, Q4_K, Q6_K, Q8_0};
use plimsoll_model::Decoder;

const KV: KvCache = KvCache { blocks: 128, block_tokens: 16, block_bytes: 0 };
/// Tokens of the sequence: more than the longest chunk.
const LEN: usize = 530;
/// Tokens of a step at most.
const STEP: usize = 640;
const CHUNKS: [usize; 3] = [1, 16, 512];

fn cpu(threads: usize) -> CpuOptions {
    let mut options = CpuOptions::default();
    options.threads = Some(threads);
    options
}

fn models() -> impl Iterator<Item = PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    ["llama", "mistral", "qwen", "glm"].into_iter().map(move |name| root.join(name))
}

/// Token ids without a pattern.
fn random(len: usize, vocab: usize, mut seed: u32) -> Vec<u32> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % vocab as u32
    };
    (0..len).map(|_| next()).collect()
}

fn part(start: usize, len: usize, block_table: impl Iterator<Item = u32>) -> Sequence {
    Sequence { start, len, block_table: block_table.take((start + len).div_ceil(KV.block_tokens)).collect() }
}

/// Logits after every token of `tokens[start..]`, computed in chunks.
fn logits(runner: &mut dyn Step, tokens: &[u32], start: usize, chunk: usize, blocks: &[u32]) -> Vec<f32> {
    let step = |start: usize| {
        let len = chunk.min(tokens.len() - start);
        let sequences = vec![part(start, len, blocks.iter().copied())];
        let tokens = tokens[start..start + len].to_vec();
        runner.logits(&Plan { tokens, sequences, outputs: (0..len as u32).collect(), ..Plan::default() }).unwrap()
    };
    (start..tokens.len()).step_by(chunk).flat_map(step).collect()
}

#[track_caller]
fn assert_same(what: &str, found: &[f32], expected: &[f32]) {
    let differs = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits() || !a.is_finite());
    assert!(found.len() == expected.len() && differs.is_none(), "{what}: logit {differs:?}");
}

fn check(name: &str, decoder: &Decoder, source: &dyn TensorSource) {
    let decoder = Decoder { context: STEP, ..decoder.clone() };
    let runner = |threads| {
        let model = Model::load(Cpu::new(&cpu(threads)).unwrap(), decoder.clone(), source).unwrap();
        Runner::new(model, KV, STEP, STEP).unwrap()
    };
    let (vocab, tokens) = (decoder.vocab, random(LEN, decoder.vocab, 1));
    let own: Vec<u32> = (40..80).rev().collect();
    // Whole blocks of the sequence above, then others.
    let shared: Vec<u32> = own[..32].iter().copied().chain(110..120).collect();
    let expected = logits(&mut runner(1), &tokens, 0, STEP, &own);
    for threads in [1, 2] {
        let mut runner = runner(threads);
        for chunk in CHUNKS {
            let what = format!("{name}, {threads} threads, chunks of {chunk}");
            assert_same(&what, &logits(&mut runner, &tokens, 0, chunk, &own), &expected);
            assert_same(&what, &logits(&mut runner, &tokens, 512, chunk, &shared), &expected[512 * vocab..]);
        }
        // The last tokens beside a prompt and a sequence that decodes, then the whole beside both.
        for start in [LEN - 1, 0] {
            let len = LEN - start;
            let others = random(34, vocab, 2);
            let sequences = vec![part(0, 33, 90..), part(start, len, own.iter().copied()), part(0, 1, 100..)];
            let tokens = [&others[..33], &tokens[start..], &others[33..]].concat();
            let outputs = (33..33 + len as u32).collect();
            let found = runner.logits(&Plan { tokens, sequences, outputs, ..Plan::default() }).unwrap();
            assert_same(&format!("{name}, {threads} threads, neighbours"), &found, &expected[start * vocab..]);
        }
    }
}

#[test]
fn logits_have_the_same_bits_in_every_family() {
    for case in common::cases() {
        let checkpoint = common::checkpoint(&case, &common::forms(&case)[0]);
        check(&case.display().to_string(), checkpoint.decoder(), &checkpoint);
    }
}

#[test]
fn logits_have_the_same_bits_in_every_type() {
    let opened = open_unlocked(models().next().unwrap()).unwrap();
    let mut decoder = opened.checkpoint().decoder().clone();
    decoder.layers.truncate(1);
    for block in [&Q4_K, &Q6_K, &Q8_0, &Q4_0, &BF16] {
        check(block.name, &decoder, &Retyped(opened.checkpoint(), block));
    }
}

/// Token ids with the bits of their log-probabilities, and how many tokens of the prompt were in the cache.
fn read(generation: Generation) -> (Vec<(u32, u32)>, usize) {
    let mut tokens = Vec::new();
    for event in generation.blocking() {
        match event.unwrap() {
            Event::Token(token) => tokens.push((token.id, token.logprob.unwrap().to_bits())),
            Event::Finished(end) => return (tokens, end.usage.cached),
            _ => {}
        }
    }
    panic!("no last event");
}

#[test]
fn answers_have_the_same_bits_through_the_engine() {
    for path in models() {
        let mut expected = None;
        for (threads, chunk) in [1, 2].into_iter().flat_map(|threads| CHUNKS.map(|chunk| (threads, chunk))) {
            let mut settings = Settings::default();
            (settings.cpu, settings.options.get_or_insert_default().prefill_chunk) = (cpu(threads), chunk);
            let model = settings.start(open_unlocked(&path).unwrap()).unwrap();
            let start = |seed: u32, len: usize| {
                let prompt = random(len, model.info().vocab, seed);
                model.start(Request::ids(prompt).max_tokens(20).temperature(0.0).ignore_eos().logprobs(0)).unwrap()
            };
            let what = format!("{}, {threads} threads, chunks of {chunk}", path.display());
            let (first, cached) = read(start(1, 400));
            assert_eq!((cached, first.len()), (0, 20), "{what}");
            let expected = expected.get_or_insert_with(|| first.clone());
            assert_eq!(&first, expected, "{what}");
            let others: Vec<_> = [(3, 100), (4, 7), (5, 33)].map(|(seed, len)| start(seed, len)).into();
            let (again, cached) = read(start(1, 400));
            assert_eq!(cached, 399, "{what}: all but the last token");
            assert_eq!(&again, expected, "{what}: after a prefix hit, beside others");
            others.into_iter().for_each(|other| assert_eq!(read(other).0.len(), 20, "{what}"));
        }
    }
}
