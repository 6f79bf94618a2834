//! lock, verify, tree, doctor.

use std::fs;

use serde_json::json;

use crate::fixture::Fixture;

#[test]
fn lock_writes_once_and_check_writes_never() {
    let fixture = Fixture::new();
    fixture.run(&["lock", "--check"]).failed(3, &["models.lock would change", "`plimsoll lock` writes it"]);
    assert!(!fixture.path("models.lock").exists());
    let first = fixture.run(&["lock"]).ok();
    assert_eq!(first.text(), "gguf: is new\nhf: is new\n");
    let text = fs::read_to_string(fixture.path("models.lock")).unwrap();
    assert!(
        text.contains("family = \"llama\"")
            && text.contains("expression = \"MIT\"")
            && text.contains("template = \"sha256:"),
        "{text}"
    );
    assert_eq!(fixture.run(&["lock"]).ok().text(), "");
    fixture.run(&["lock", "--check"]).ok();
    let report = fixture.run(&["lock", "--check", "--json"]).ok().json();
    assert_eq!(
        (&report["changed"], &report["written"], &report["changes"]),
        (&json!(false), &json!(false), &json!([]))
    );
    assert_eq!(fs::read_to_string(fixture.path("models.lock")).unwrap(), text);
}

#[test]
fn check_says_what_a_person_must_know() {
    let fixture = Fixture::locked();
    fixture.write("m/hf/LICENSE", "other terms");
    fixture.edit("m/hf/chat_template.jinja", "| trim", "");
    fixture.edit("m/hf/generation_config.json", "301", "302");
    let ran = fixture.run(&["lock", "--check"]).failed(3, &["would change"]);
    for text in [
        "hf: a licence text changed: sha256:",
        "hf: the chat template changed: sha256:",
        "hf: the end-of-sequence ids",
        "hf: a file changed: LICENSE: ",
    ] {
        assert!(ran.text().contains(text), "{}", ran.text());
    }
    let report = fixture.run(&["lock", "--check", "--json"]).failed(3, &["\"kind\":\"lock\""]).json();
    let kinds: Vec<_> =
        report["changes"].as_array().unwrap().iter().map(|change| change["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["license-text", "template", "generation", "file-changed", "file-changed", "file-changed"]);
}

#[test]
fn verify_tries_every_model() {
    let fixture = Fixture::locked();
    let ran = fixture.run(&["verify"]).ok();
    assert!(
        ran.text().starts_with("gguf: ok, 1 file, ") && ran.text().contains("\nhf: ok, 7 files, "),
        "{}",
        ran.text()
    );
    let mut weights = fs::read(fixture.path("m/hf/model.safetensors")).unwrap();
    *weights.last_mut().unwrap() ^= 1;
    fixture.write("m/hf/model.safetensors", weights);
    let texts = ["model `hf`, file `model.safetensors`: sha256 is ", ", the lock expects ", "1 of 2 models failed"];
    let ran = fixture.run(&["verify"]).failed(3, &texts);
    assert!(ran.text().starts_with("gguf: ok"), "{}", ran.text());
    let report = fixture.run(&["verify", "--json"]).failed(3, &["\"code\":3"]).json();
    assert_eq!((&report["models"][0]["ok"], &report["models"][1]["ok"]), (&json!(true), &json!(false)));
    fixture.run(&["verify", "gguf"]).ok();
    fixture.run(&["verify", "other"]).failed(3, &["there is no model `other`; it has `gguf`, `hf`"]);
}

#[test]
fn nothing_runs_from_a_broken_lock() {
    let cases: [(&str, &str, &str, &str); 4] = [
        ("models.lock", "version = 1", "version = 9", "version: is 9, expected 1"),
        ("models.lock", "path = \"model.gguf\"", "path = \"../model.gguf\"", "`..` leaves the model's folder"),
        ("models.toml", "m/hf", "m/other", "run `plimsoll lock`"),
        ("m/hf/config.json", "512", "513", "file `config.json`: sha256 is "),
    ];
    for (file, from, to, expected) in cases {
        let fixture = Fixture::locked();
        fixture.edit(file, from, to);
        for args in [&["run", "hello"][..], &["score", "hello"], &["tokenize", "hello"]] {
            let ran = fixture.run(args).failed(3, &[expected]);
            assert_eq!(ran.text(), "");
        }
    }
}

#[test]
fn tree_shows_what_is_pinned() {
    let fixture = Fixture::locked();
    let ran = fixture.run(&["tree"]).ok();
    for text in [
        "├── gguf: llama, licence not declared, path:m/model.gguf, sha256:",
        "└── hf (default): llama, MIT, path:m/hf, sha256:",
        "    └── tokenizer_config.json 233 B ",
    ] {
        assert!(ran.text().contains(text), "{}", ran.text());
    }
    let report = fixture.run(&["tree", "--json"]).ok().json();
    assert_eq!((&report["default"], &report["models"][1]["name"]), (&json!("hf"), &json!("hf")));
    assert_eq!(report["models"][1]["file"][0]["path"], "LICENSE");
}

#[test]
fn doctor_never_fails() {
    let fixture = Fixture::new();
    let state = |fixture: &Fixture| fixture.run(&["doctor", "--json"]).ok().json();
    assert_eq!(state(&fixture)["lock"]["state"], "unusable");
    fixture.run(&["lock"]).ok();
    let report = state(&fixture);
    assert_eq!((&report["lock"]["state"], &report["lock"]["default"]), (&json!("ok"), &json!("hf")));
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    assert_eq!(report["pick"]["device"], "cpu");
    fixture.edit("models.toml", "m/hf", "m/other");
    assert_eq!(state(&fixture)["lock"]["state"], "out of date");
    assert!(fixture.run(&["doctor"]).ok().text().contains("lock      out of date: model `hf`"));
}

#[test]
fn files_are_found_from_below_and_by_name() {
    let fixture = Fixture::locked();
    fixture.run_in("m/hf", &["verify"], b"").ok();
    fs::rename(fixture.path("models.lock"), fixture.path("edge.lock")).unwrap();
    fixture.run(&["verify"]).failed(3, &["models.lock: there is no such file", "`plimsoll lock` writes it"]);
    fixture.run(&["verify", "--lock", "edge.lock"]).ok();
    fixture.run(&["--lock", "edge.lock", "--manifest", "models.toml", "lock", "--check"]).ok();
    fixture.run(&["verify", "--lock", "edge.lock", "--manifest", "m/models.toml"]).failed(2, &["in two folders"]);
}

#[test]
fn a_model_that_cannot_be_read_is_not_locked() {
    let fixture = Fixture::new();
    fixture.edit("m/hf/config.json", "\"model_type\": \"llama\"", "\"model_type\": \"lama\"");
    fixture.run(&["lock"]).failed(4, &["model `hf`: ", "lama"]);
    assert!(!fixture.path("models.lock").exists());
}
