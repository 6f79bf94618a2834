//! tokenize and render.

use serde_json::json;

use crate::fixture::{Fixture, golden};

#[test]
fn tokenize_gives_the_ids_of_transformers() {
    let fixture = Fixture::locked();
    let texts = golden("texts.json");
    let args = [["tokenize", "--model", "hf", "--json"], ["tokenize", "--unlocked", "m/model.gguf", "--json"]];
    for case in texts["encode"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        for args in args {
            let ids = fixture.run_with(&args, text.as_bytes()).ok().json()["ids"].clone();
            assert_eq!(ids, case["with_special"], "{args:?} {text:?}");
            let args = [&args[..], &["--no-special"]].concat();
            let ids = fixture.run_with(&args, text.as_bytes()).ok().json()["ids"].clone();
            assert_eq!(ids, case["ids"], "{args:?} {text:?}");
        }
    }
}

#[test]
fn tokenize_and_back() {
    let fixture = Fixture::locked();
    let bytes = b"Gr\xc3\xb6\xc3\x9fe \xff\xfe!\n";
    let ids = fixture.run_with(&["tokenize", "--no-special"], bytes).ok();
    let back = fixture.run_with(&["tokenize", "--decode"], ids.text().as_bytes()).ok();
    assert_eq!(back.stdout, bytes);
    let object = fixture.run_with(&["tokenize", "--json"], b"ship").ok();
    let back = fixture.run_with(&["tokenize", "--decode", "--json", "--no-special"], &object.stdout).ok().json();
    assert_eq!(back["text"], "ship");
    assert_eq!(fixture.run(&["tokenize", "ship", "--json"]).ok().json(), object.json());
    fixture.run(&["tokenize", "--decode", "3,x"]).failed(5, &["token ids: `x`: invalid digit"]);
    fixture.run(&["tokenize", "--decode", "999999"]).failed(5, &["token id 999999, but the vocabulary has 305 tokens"]);
}

#[test]
fn render_prints_exactly_the_prompt() {
    let fixture = Fixture::locked();
    for case in golden("texts.json")["chat"].as_array().unwrap() {
        fixture.write("messages.json", case["messages"].to_string());
        for model in [["--model", "hf"], ["--model", "gguf"], ["--unlocked", "m/hf"]] {
            let args = [&["render", "--messages", "messages.json"], &model[..]].concat();
            assert_eq!(fixture.run(&args).ok().text(), case["prompt"].as_str().unwrap());
        }
        let template = [
            "render",
            "--messages",
            "-",
            "--template",
            "m/hf/chat_template.jinja",
            "--var",
            "bos_token=\"<|begin_of_text|>\"",
        ];
        let ran = fixture.run_with(&template, case["messages"].to_string().as_bytes()).ok();
        assert_eq!((ran.text(), ran.stderr.as_str()), (case["prompt"].as_str().unwrap(), ""));
    }
}

#[test]
fn render_with_tools_variables_and_no_generation_prompt() {
    let fixture = Fixture::new();
    fixture.write("t.jinja", "{{ messages[0].content }} {{ tools | length }} {{ flag }} {{ add_generation_prompt }}");
    fixture.write("m.json", r#"[{"role": "user", "content": "hi"}]"#);
    fixture.write("tools.json", r#"[{"type": "function"}]"#);
    let args = [
        "render",
        "--template",
        "t.jinja",
        "--messages",
        "m.json",
        "--tools",
        "tools.json",
        "--var",
        "flag=[1, 2]",
        "--no-generation-prompt",
    ];
    assert_eq!(fixture.run(&args).ok().text(), "hi 1 [1, 2] False");
    let json = [&args[..], &["--json"]].concat();
    assert_eq!(fixture.run(&json).ok().json(), json!({ "prompt": "hi 1 [1, 2] False", "unlocked": false }));
}

#[test]
fn what_cannot_be_rendered() {
    let fixture = Fixture::new();
    fixture.write("m.json", r#"[{"role": "user", "content": "hi"}]"#);
    let render = |template: &str| {
        fixture.write("t.jinja", template);
        fixture.run(&["render", "--template", "t.jinja", "--messages", "m.json"])
    };
    render("{% if %}").failed(4, &["chat template, line 1"]);
    render("{{ raise_exception('no') }}").failed(5, &["the chat template refuses the conversation: no"]);
    render("{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}")
        .failed(4, &["chat template stopped"]);
    for (messages, expected) in [
        ("{}", "m.json: found an object, expected an array"),
        ("[", "m.json: EOF"),
        ("\u{1}", "m.json: expected value"),
    ] {
        fixture.write("m.json", messages);
        fixture.run(&["render", "--template", "t.jinja", "--messages", "m.json"]).failed(5, &[expected]);
    }
    fixture
        .run(&["render", "--template", "t.jinja", "--messages", "absent.json"])
        .failed(1, &["absent.json: No such file"]);
}
