//! Configurations and tensors that disagree, each refused with names and numbers before anything is loaded.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use plimsoll_engine::Checkpoint;
use plimsoll_formats::{NamedFile, Weights};
use serde_json::{Value, json};

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens").join(case)
}

fn file(name: &str, bytes: &[u8]) -> NamedFile {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    NamedFile { name: name.into(), file }
}

/// The golden with its configuration edited.
fn open(case: &str, edit: impl Fn(&mut Value)) -> Result<Checkpoint, String> {
    let mut config = serde_json::from_slice(&fs::read(golden(case).join("config.json")).unwrap()).unwrap();
    edit(&mut config);
    let weights = File::open(golden(case).join("model.safetensors")).unwrap();
    let weights = NamedFile { name: "model.safetensors".into(), file: weights };
    let files = vec![file("config.json", config.to_string().as_bytes()), weights];
    Checkpoint::new(Weights::open(files).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn an_unedited_golden_has_as_many_parameters_as_its_file() {
    for case in ["llama-mha", "qwen3", "glm4", "mistral-nemo"] {
        let checkpoint = open(case, |_| ()).unwrap();
        let weights = checkpoint.weights();
        let stored: usize = weights.names().map(|name| weights.get(name).unwrap().len()).sum();
        assert_eq!(checkpoint.decoder().params(), stored, "{case}");
    }
}

#[test]
fn configurations_that_disagree_with_the_tensors_are_refused() {
    let cases: &[(&str, &str, Value, &[&str])] = &[
        ("llama-mha", "num_hidden_layers", json!(1), &["model.layers.1.", "llama model of 1 layers"]),
        ("llama-mha", "num_hidden_layers", json!(3), &["model.layers.2.", "no such tensor"]),
        ("llama-mha", "num_hidden_layers", json!(1_000_000_000_000_u64), &["num_hidden_layers", "1 to 4096"]),
        ("llama-mha", "hidden_size", json!(40), &["model.embed_tokens.weight", "[97, 32]", "[97, 40]"]),
        ("llama-mha", "vocab_size", json!(98), &["model.embed_tokens.weight", "[97, 32]", "[98, 32]"]),
        ("llama-mha", "intermediate_size", json!(7), &["mlp.gate_proj.weight", "[7, 32]"]),
        ("llama-mha", "num_attention_heads", json!(3), &["found shape", "by the configuration"]),
        ("llama-mha", "attention_bias", json!(true), &["q_proj.bias", "no such tensor"]),
        ("llama-mha", "vocab_size", json!("many"), &["config.json: vocab_size", "many", "positive integer"]),
        ("llama-mha", "hidden_act", json!("gelu"), &["config.json: hidden_act", "gelu", "silu"]),
        ("llama-mha", "model_type", json!("mamba"), &["model_type", "mamba", "llama, mistral, qwen2, qwen3, glm4"]),
        ("llama-mha", "rms_norm_eps", json!(-1.0), &["norm eps", "-1"]),
        ("llama-linear", "attention_bias", json!(false), &["q_proj.bias", "none in this llama model"]),
        ("glm4", "attention_bias", json!(false), &["self_attn.q_proj.bias", "none in this glm4 model"]),
    ];
    for (case, key, value, words) in cases {
        let error = open(case, |config| config[*key] = value.clone()).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{case}: {key} = {value}: {error}");
    }
}

#[test]
fn a_checkpoint_without_configuration_says_so() {
    let weights = File::open(golden("llama-mha").join("model.safetensors")).unwrap();
    let files = vec![NamedFile { name: "model.safetensors".into(), file: weights }];
    let error = Checkpoint::new(Weights::open(files).unwrap()).unwrap_err().to_string();
    assert_eq!(error, "config.json is missing; expected the model's configuration");
}
