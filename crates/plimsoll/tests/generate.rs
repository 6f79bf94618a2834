//! `Generate` end to end on the golden with a tokenizer: conversations, batches, chunks, seeds, prefix hits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plimsoll::{Event, FinishReason, Generate, Request, Settings, open_unlocked};
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens/chat-llama")
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&fs::read(golden().join(name)).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// The same model from either container.
fn containers() -> Vec<(&'static str, tempfile::TempDir)> {
    let copy = |names: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::copy(golden().join(name), dir.path().join(name)).unwrap();
        }
        dir
    };
    let hugging_face = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];
    let hugging_face = [&hugging_face[..], &["tokenizer_config.json", "chat_template.jinja"]].concat();
    vec![("gguf", copy(&["model.gguf"])), ("safetensors", copy(&hugging_face))]
}

fn start(dir: &Path, change: impl FnOnce(&mut Settings)) -> Arc<dyn Generate> {
    let mut settings = Settings::default();
    change(&mut settings);
    settings.start(open_unlocked(dir).unwrap()).unwrap()
}

struct Answer {
    text: String,
    ids: Vec<u32>,
    reason: FinishReason,
    cached: usize,
}

fn answer(model: &dyn Generate, request: Request) -> Answer {
    collect(model.start(request).unwrap())
}

fn collect(generation: plimsoll::Generation) -> Answer {
    let (mut text, mut ids) = (String::new(), Vec::new());
    for event in generation.blocking() {
        match event.unwrap() {
            Event::Text(more) => text.push_str(&more),
            Event::Token(token) => ids.push(token.id),
            Event::Finished(end) => return Answer { text, ids, reason: end.reason, cached: end.usage.cached },
            _ => (),
        }
    }
    panic!("no last event");
}

#[test]
fn conversations_equal_transformers() {
    let texts = read("texts.json");
    for (container, dir) in containers() {
        let model = start(dir.path(), |_| ());
        for case in texts["chat"].as_array().unwrap() {
            let mut request = Request::chat().max_tokens(64).ignore_eos();
            for message in case["messages"].as_array().unwrap() {
                request = request.message(message.clone());
            }
            assert_eq!(model.count(&request).unwrap(), ids(&case["ids"]).len(), "{container}: {}", case["prompt"]);
            let answer = answer(&*model, request);
            assert_eq!(answer.ids, ids(&case["greedy"]), "{container}: {}", case["prompt"]);
            assert_eq!(answer.text, case["answer"].as_str().unwrap(), "{container}: {}", case["prompt"]);
            assert_eq!(answer.reason, FinishReason::Length);
        }
    }
}

/// Greedy tokens are transformers' own whatever the chunks and whatever else runs; the goldens' margins exceed what
/// the reference backend's logits may differ by between batches.
#[test]
fn greedy_tokens_do_not_depend_on_chunks_neighbours_or_prefix_hits() {
    let prompts: Vec<(Vec<u32>, Vec<u32>)> = read("golden.json")["prompts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (ids(&p["ids"]), ids(&p["greedy"])))
        .collect();
    let request = |ids: &[u32]| Request::ids(ids.to_vec()).max_tokens(64).temperature(0.0).ignore_eos();
    let (_, dir) = containers().remove(0);
    for chunk in [1, 7, 64] {
        let model = start(dir.path(), |settings| settings.options.get_or_insert_default().prefill_chunk = chunk);
        for (prompt, greedy) in &prompts {
            assert_eq!(&answer(&*model, request(prompt)).ids, greedy, "alone, chunk {chunk}");
        }
        let again = answer(&*model, request(&prompts[4].0));
        assert_eq!(again.ids, prompts[4].1, "after a prefix hit, chunk {chunk}");
        assert_eq!(again.cached, 64, "whole blocks of a prompt of 70");
        let together: Vec<_> = prompts.iter().chain(&prompts[2..]).collect();
        let running: Vec<_> = together.iter().map(|(prompt, _)| model.start(request(prompt)).unwrap()).collect();
        for (generation, (_, greedy)) in running.into_iter().zip(together) {
            assert_eq!(&collect(generation).ids, greedy, "beside seven others, chunk {chunk}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_tokens_whatever_else_runs() {
    let (_, dir) = containers().remove(0);
    let model = start(dir.path(), |_| ());
    let request = |seed| Request::prompt("Some text").max_tokens(40).temperature(1.0).seed(seed).ignore_eos();
    let alone = answer(&*model, request(5)).ids;
    assert_ne!(alone, answer(&*model, request(6)).ids);
    let others: Vec<_> = (10..17).map(|seed| model.start(request(seed)).unwrap()).collect();
    assert_eq!(answer(&*model, request(5)).ids, alone);
    others.into_iter().for_each(|other| assert_eq!(collect(other).ids.len(), 40));
}

#[test]
fn two_engines_with_different_settings_live_side_by_side() {
    let (_, dir) = containers().remove(0);
    let small = start(dir.path(), |settings| settings.kv_bytes = Some(1 << 15));
    let large = start(dir.path(), |_| ());
    let request = || Request::prompt("Some text").max_tokens(250).temperature(0.0).ignore_eos();
    let error = small.start(request()).unwrap_err().to_string();
    assert!(error.contains("KV cache") && error.contains("blocks"), "{error}");
    assert_eq!(answer(&*large, request()).ids.len(), 250);
}
