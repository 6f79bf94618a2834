//! quantize, and models that models.toml quantizes.

use std::fs;

use serde_json::json;

use crate::fixture::Fixture;

/// The default model of the fixture, quantized while loading; not locked.
fn quantized() -> Fixture {
    let fixture = Fixture::new();
    fixture.edit("models.toml", "license = \"MIT\"", "license = \"MIT\"\nquantize = \"q8_0\"");
    fixture
}

#[test]
fn recipe_and_result_are_locked_and_shown() {
    let fixture = quantized();
    fixture.run(&["lock"]).ok();
    let text = fs::read_to_string(fixture.path("models.lock")).unwrap();
    assert!(text.contains("[model.load]\nrecipe = \"q8_0/1\"\nresult = \"sha256:"), "{text}");
    fixture.run(&["lock", "--check"]).ok();
    for command in ["verify", "tree"] {
        let ran = fixture.run(&[command]).ok();
        assert!(ran.text().contains(", quantized while loading: q8_0/1 sha256:"), "{}", ran.text());
    }
    let report = fixture.run(&["verify", "--json"]).ok().json();
    assert_eq!(
        (&report["models"][0]["load"], &report["models"][1]["load"]["recipe"]),
        (&json!(null), &json!("q8_0/1"))
    );
    let score = fixture.run(&["score", "--ids", "3,17,42", "--json"]).ok().json();
    assert_eq!(score["unlocked"], false);

    fixture.edit("models.toml", "q8_0", "q4_0");
    fixture
        .run(&["score", "--ids", "3,17"])
        .failed(3, &["quantize is `q4_0` in models.toml and `q8_0` in models.lock"]);
    let ran = fixture.run(&["lock", "--check"]).failed(3, &["would change"]);
    assert!(ran.text().starts_with("hf: the quantization changed: q8_0/1 sha256:"), "{}", ran.text());
}

#[test]
fn other_weights_than_the_locked_ones_do_not_run() {
    let fixture = quantized();
    fixture.run(&["lock"]).ok();
    let text = fs::read_to_string(fixture.path("models.lock")).unwrap();
    let result = text.split("result = \"").nth(1).unwrap().split('"').next().unwrap();
    let other = format!("sha256:{}", "0".repeat(64));
    fixture.write("models.lock", text.replace(result, &other));
    let texts = ["model `hf`, quantized while loading: result is ", result, &other, "run `plimsoll lock`"];
    let ran = fixture.run(&["run", "hello"]).failed(3, &texts);
    assert_eq!(ran.text(), "");
    fixture.write("models.lock", text.replace("q8_0/1", "q8_0/7"));
    fixture.run(&["run", "hello"]).failed(3, &["recipe is q8_0/1, the lock expects q8_0/7"]);
}

#[test]
fn what_cannot_be_quantized_is_not_locked() {
    let fixture = quantized();
    fixture.edit("models.toml", "q8_0", "q5");
    fixture.run(&["lock"]).failed(3, &["models.toml: 6:12: ", "quantize is `q5`, expected one of `q8_0`, `q6_k`"]);
    fixture.edit("models.toml", "q5", "q8_0");
    fixture.run(&["lock"]).ok();
    fixture.run(&["quantize", "hf", "m/model.gguf", "--force"]).ok();
    fixture.edit("models.toml", "path = \"m/model.gguf\"", "path = \"m/model.gguf\"\nquantize = \"q4_0\"");
    fixture.run(&["lock"]).failed(4, &["model `gguf`: ", "Q8_0 is not supported, expected F32, F16 or BF16"]);
}

#[test]
fn quantize_writes_a_model_that_runs() {
    let fixture = quantized();
    fixture.run(&["lock"]).ok();
    let report = fixture.run(&["quantize", "default", "out.gguf", "--json"]).ok().json();
    let lock = fs::read_to_string(fixture.path("models.lock")).unwrap();
    assert!(lock.contains(report["result"].as_str().unwrap()));
    let bytes = fs::metadata(fixture.path("out.gguf")).unwrap().len();
    assert_eq!(
        (&report["recipe"], &report["bytes"], &report["file"]),
        (&json!("q8_0/1"), &json!(bytes), &json!("out.gguf"))
    );

    let likelihood = |model: &[&str]| {
        let args = ["score", "--ids", "3,17,42,5,99,7", "--json"];
        fixture.run(&[&args[..], model].concat()).ok().json()["log_likelihood"].as_f64().unwrap()
    };
    let (file, loaded) = (likelihood(&["--unlocked", "out.gguf"]), likelihood(&["--model", "hf"]));
    assert!((file - loaded).abs() < 0.01, "{file} {loaded}");
    fixture.run(&["quantize", "hf", "out.gguf"]).failed(1, &["out.gguf: is there already", "--force replaces it"]);
    let ran = fixture.run(&["quantize", "gguf", "out.gguf", "--to", "q4_0", "--force"]).ok();
    assert!(ran.text().starts_with("out.gguf: q4_0/1, ") && ran.text().contains(", sha256:"), "{}", ran.text());
}

#[test]
fn a_written_file_is_locked_with_what_it_was_made_of() {
    let fixture = Fixture::locked();
    fixture.run(&["quantize", "hf", "m/small.gguf", "--to", "q8_0"]).ok();
    fixture.edit("models.toml", "[models.gguf]", "[models.small]\npath = \"m/small.gguf\"\n\n[models.gguf]");
    fixture.run(&["lock"]).ok();
    let models = fixture.run(&["tree", "--json"]).ok().json()["models"].clone();
    let [gguf, hf, small] = [0, 1, 2].map(|i| models[i].clone());
    assert_eq!((&small["name"], &small["derived-from"]), (&json!("small"), &hf["digest"]));
    assert_eq!(gguf["derived-from"], json!(null));
    for behaviour in ["template", "tokens"] {
        assert_eq!(small["behaviour"][behaviour], hf["behaviour"][behaviour]);
    }
    fixture.run(&["verify"]).ok();
    assert!(fixture.run(&["tree"]).ok().text().contains(", derived from sha256:"));
}

#[test]
fn mistakes_of_quantize() {
    let fixture = Fixture::locked();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["quantize", "hf", "out.gguf"], 2, "name one by --to"),
        (&["quantize", "hf", "out.gguf", "--to", "q5"], 2, "expected one of q8_0, q6_k, q4_k_m, q4_0"),
        (&["quantize", "other", "out.gguf", "--to", "q8_0"], 3, "there is no model `other`"),
        (&["quantize", "hf", "out.bin", "--to", "q8_0"], 1, "expected a name that ends in .gguf"),
        (&["quantize", "hf", "absent/out.gguf", "--to", "q8_0"], 1, "absent"),
    ];
    for (args, code, text) in cases {
        let ran = fixture.run(args).failed(code, &[text]);
        assert_eq!(ran.text(), "");
    }
    assert!(!fixture.path("out.gguf").exists());
}
