//! Models that someone broke: refused with the model's exit code and a message that names file and field.

use std::fs;

use crate::fixture::Fixture;

type Edit = fn(&Fixture);

fn cut(fixture: &Fixture, path: &str, bytes: usize) {
    let content = fs::read(fixture.path(path)).unwrap();
    fixture.write(path, &content[..bytes]);
}

/// Each case: what is done to the folder, and what the message must name.
#[test]
fn folders() {
    let cases: [(Edit, &[&str]); 9] = [
        (|f| cut(f, "m/hf/model.safetensors", 60_000), &["model.safetensors", "data_offsets: found [57664, 61760]"]),
        (|f| cut(f, "m/hf/model.safetensors", 4), &["model.safetensors: header length: found 4 bytes"]),
        (|f| f.write("m/hf/model.safetensors", [0xff; 64]), &["model.safetensors"]),
        (|f| fs::remove_file(f.path("m/hf/model.safetensors")).unwrap(), &["found no tensors"]),
        (|f| fs::remove_file(f.path("m/hf/config.json")).unwrap(), &["config.json"]),
        (|f| fs::remove_file(f.path("m/hf/tokenizer.json")).unwrap(), &["tokenizer.json"]),
        (|f| f.edit("m/hf/config.json", "\"hidden_size\": 32", "\"hidden_size\": 64"), &["tensor `model.", "shape"]),
        (|f| f.edit("m/hf/config.json", "\"model_type\": \"llama\"", "\"model_type\": \"lama\""), &["lama"]),
        (|f| f.write("m/hf/tokenizer.json", "{}"), &["tokenizer.json"]),
    ];
    for (edit, expected) in cases {
        let fixture = Fixture::new();
        edit(&fixture);
        let ran = fixture.run(&["run", "--unlocked", "m/hf", "hello"]).failed(4, expected);
        assert_eq!(ran.text(), "", "{}", ran.stderr);
        fixture.run(&["lock"]).failed(4, expected);
    }
}

#[test]
fn files() {
    let cases: [(Edit, &[&str]); 4] = [
        (|f| cut(f, "m/model.gguf", 70_000), &["model.gguf"]),
        (|f| cut(f, "m/model.gguf", 2_000), &["model.gguf"]),
        (|f| f.write("m/model.gguf", "GGML and more"), &["model.gguf", "magic"]),
        (|f| f.write("m/model.gguf", ""), &["model.gguf"]),
    ];
    for (edit, expected) in cases {
        let fixture = Fixture::new();
        edit(&fixture);
        for args in [
            &["tokenize", "--unlocked", "m/model.gguf", "x"][..],
            &["score", "--unlocked", "m/model.gguf", "--ids", "1,2"],
        ] {
            fixture.run(args).failed(4, expected);
        }
    }
}

/// Each case: the template, the exit code, and what the message must name.
#[test]
fn templates() {
    let cases = [
        ("{% if %}", 4, "chat template, line 1"),
        (
            "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
            4,
            "chat template stopped",
        ),
        ("{{ raise_exception('not so') }}", 5, "the chat template refuses the conversation: not so"),
    ];
    for (template, code, expected) in cases {
        let fixture = Fixture::new();
        fixture.write("m/hf/chat_template.jinja", template);
        fixture.run(&["run", "--unlocked", "m/hf", "hello"]).failed(code, &[expected]);
    }
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("m/hf/chat_template.jinja")).unwrap();
    fixture.run(&["run", "--unlocked", "m/hf", "hello"]).failed(5, &["a model without a chat template", "--raw"]);
    fixture.run(&["run", "--unlocked", "m/hf", "hello", "--raw", "--max-tokens", "1"]).ok();
}
