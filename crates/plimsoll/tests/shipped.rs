//! The models of this repository: locked, of four families, and right about what the README asks them.

use std::collections::BTreeSet;
use std::path::Path;

use plimsoll::{Engine, Event, Request};

fn engine() -> Engine {
    Engine::from_lock(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models.lock")).unwrap()
}

fn answer(model: &dyn plimsoll::Generate, question: &str) -> String {
    let generation = model.start(Request::chat().user(question).max_tokens(64)).unwrap();
    let text = generation.blocking().filter_map(|event| match event.unwrap() {
        Event::Text(text) => Some(text),
        _ => None,
    });
    text.collect()
}

#[test]
fn every_model_of_the_lock_answers() {
    let engine = engine();
    let mut families = BTreeSet::new();
    for name in engine.models() {
        let model = engine.load(name).unwrap();
        families.insert(model.info().family.clone());
        assert!(!model.info().unlocked && model.info().lock_digest.is_some(), "{name}");
        assert_eq!(answer(&*model, "What is 12 + 7?"), "19", "{name}");
    }
    let expected = ["glm4", "llama", "mistral", "qwen3"].map(String::from);
    assert_eq!(families, BTreeSet::from(expected));
}

#[test]
fn the_default_is_one_of_them() {
    let model = engine().load("default").unwrap();
    assert_eq!(answer(&*model, "What is 12 + 7?"), "19");
    let error = engine().load("nobody").map(drop).unwrap_err().to_string();
    assert!(error.contains("nobody") && error.contains("llama"), "{error}");
}
