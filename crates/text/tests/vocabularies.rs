//! The vectors that llama.cpp ships with its vocabularies, where `../shared/data/vocab` is there.

use std::path::PathBuf;

use plimsoll_formats::gguf;
use plimsoll_text::{Special, Tokenizer};

fn folder() -> PathBuf {
    std::env::var_os("PLIMSOLL_VOCAB")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vocab"), PathBuf::from)
}

#[test]
fn every_vector_is_equal() {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        println!("skipped: no {}", folder().display());
        return;
    };
    let mut failures = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(input) = std::fs::read_to_string(path.with_extension("gguf.inp")) else { continue };
        let output = std::fs::read_to_string(path.with_extension("gguf.out")).unwrap();
        let header = gguf::parse(&name, &std::fs::read(&path).unwrap()).unwrap();
        let tokenizer = match Tokenizer::from_gguf(&header.metadata) {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                failures.push(error.to_string());
                continue;
            }
        };
        let texts: Vec<&str> = input.split("\n__ggml_vocab_test__\n").collect();
        let lines: Vec<&str> = output.lines().collect();
        for (text, line) in texts.iter().zip(&lines) {
            let ids: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
            let found = tokenizer.encode(text, Special::TEXT).unwrap();
            if found != ids {
                failures.push(format!("{name}: {text:?}: {found:?}, not {ids:?}"));
            }
            let decoded = tokenizer.decode(&found, false).unwrap();
            if decoded != *text && !name.contains("bert") {
                failures.push(format!("{name}: {text:?} comes back as {decoded:?}"));
            }
        }
        println!("{name}: {} texts", texts.len());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
