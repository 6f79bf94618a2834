//! Perplexity of the shipped models on the CPU backend against the reference's: as they are, and in every type that can be
//! encoded.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Retyped;
use plimsoll::{CpuOptions, Opened, Request, open_unlocked};
use plimsoll_backend::{Backend, Model, TensorSource};
use plimsoll_candle::Candle;
use plimsoll_cpu::Cpu;
use plimsoll_engine::{KvCache, Runner, score};
use plimsoll_formats::blocks::TABLE;

/// Perplexity may be this share higher or lower. What differs is int8 activations, and f16 keys and values.
const LIMIT: f64 = 0.001;

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name)
}

/// Questions and answers of the models' tasks that none was trained on, as conversations, and where the answers begin. Questions
/// are not counted: no model was trained to say them, and in each their perplexity is above 700.
fn held_out(opened: &Opened) -> Vec<(Vec<u32>, usize)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/held_out.tsv")).unwrap();
    let cases = text.lines().map(|line| {
        let (question, answer) = line.split_once('\t').unwrap();
        let prompt = opened.text().encode(&Request::chat().user(question).prompt).unwrap();
        let answer = opened.text().encode(&Request::prompt(answer).prompt).unwrap();
        let first = usize::from(answer[0] == prompt[0]); // what begins every text
        ([&prompt[..], &answer[first..]].concat(), prompt.len())
    });
    cases.collect()
}

fn perplexity<B: Backend>(backend: B, opened: &Opened, source: &dyn TensorSource, texts: &[(Vec<u32>, usize)]) -> f64 {
    const KV: KvCache = KvCache { blocks: 16, block_tokens: 16, block_bytes: 0 };
    let model = Model::load(backend, opened.checkpoint().decoder().clone(), source).unwrap();
    let mut runner = Runner::new(model, KV, 256, 256).unwrap();
    let mut answers = |(ids, start): &(Vec<u32>, usize)| {
        score(&mut runner, KV, ids, 256, 0).unwrap().logprobs[*start..].iter().flatten().copied().collect::<Vec<_>>()
    };
    let logprobs: Vec<f32> = texts.iter().flat_map(&mut answers).collect();
    (-logprobs.iter().copied().map(f64::from).sum::<f64>() / logprobs.len() as f64).exp()
}

/// Perplexity on the CPU backend against the reference's.
fn check(name: &str, opened: &Opened, source: &dyn TensorSource) {
    let texts = held_out(opened);
    let expected = perplexity(Candle::cpu(), opened, source, &texts);
    let found = perplexity(Cpu::new(&CpuOptions::default()).unwrap(), opened, source, &texts);
    let apart = found / expected - 1.0;
    println!("{name}: {found:.5}, the reference {expected:.5}, {:+.4} %", 100.0 * apart);
    assert!(apart.abs() <= LIMIT, "{name}: {found}, the reference {expected}");
}

#[test]
fn perplexity_of_every_family_is_that_of_the_reference() {
    for name in ["llama", "mistral", "qwen", "glm"] {
        let opened = open_unlocked(model(name)).unwrap();
        check(name, &opened, opened.checkpoint());
    }
}

/// Of the model whose weights are BF16.
#[test]
fn perplexity_in_every_type_is_that_of_the_reference() {
    let opened = open_unlocked(model("mistral")).unwrap();
    for block in TABLE.iter().copied().filter(|block| block.encodes()) {
        check(block.name, &opened, &Retyped(opened.checkpoint(), block));
    }
}
