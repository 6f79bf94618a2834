//! Logits of the goldens against candle-transformers, whose models share nothing with ours but the tensor library.

mod common;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor, safetensors};
use candle_nn::VarBuilder;
use candle_transformers::models::{glm4_new, llama, mistral, qwen2, qwen3};
use common::{cases, expected, forms, logits, runner};
use plimsoll_engine::Step;
use serde_json::{Value, from_value, json};

/// Largest absolute difference of a logit: two f32 computations, each in its own order.
const LOGITS: f32 = 1e-4;

/// Logits after the last of the tokens, which follow `offset` others.
type Peer = Box<dyn FnMut(&Tensor, usize) -> Result<Tensor>>;
type Load = fn(Value, VarBuilder<'_>) -> Result<Peer>;

const COMPARED: &[(&str, Load)] = &[
    ("chat-llama", load_llama),
    ("glm4", load_glm4),
    ("glm4-no-bias", load_glm4),
    ("llama-gqa-tied", load_llama),
    ("llama-mha", load_llama),
    ("mistral-absent-window", load_mistral),
    ("mistral-nemo", load_mistral),
    ("qwen2", load_qwen2),
    ("qwen3", load_qwen3),
    ("qwen3-untied", load_qwen3),
];

/// What candle-transformers computes otherwise, or not at all.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("llama-linear", "no linear scaling, no biases"),
    ("llama-odd", "heads are always hidden_size / num_attention_heads wide"),
    ("llama-yarn", "no YaRN"),
    ("mistral-window", "its windows hold one key more, and none slides while decoding"),
    ("qwen2-slide", "its windows hold one key more, and every layer has one"),
];

fn load_llama(config: Value, weights: VarBuilder<'_>) -> Result<Peer> {
    let config = from_value::<llama::LlamaConfig>(config).unwrap().into_config(false);
    let mut cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu)?;
    let model = llama::Llama::load(weights, &config)?;
    Ok(Box::new(move |tokens, offset| model.forward(tokens, offset, &mut cache)))
}

fn load_mistral(config: Value, weights: VarBuilder<'_>) -> Result<Peer> {
    let mut model = mistral::Model::new(&from_value(config).unwrap(), weights)?;
    Ok(Box::new(move |tokens, offset| model.forward(tokens, offset)))
}

fn load_qwen2(mut config: Value, weights: VarBuilder<'_>) -> Result<Peer> {
    // It follows sliding_window even where use_sliding_window is false.
    config["sliding_window"] = config["max_position_embeddings"].clone();
    let mut model = qwen2::ModelForCausalLM::new(&from_value(config).unwrap(), weights)?;
    Ok(Box::new(move |tokens, offset| model.forward(tokens, offset)))
}

fn load_qwen3(config: Value, weights: VarBuilder<'_>) -> Result<Peer> {
    let mut model = qwen3::ModelForCausalLM::new(&from_value(config).unwrap(), weights)?;
    Ok(Box::new(move |tokens, offset| model.forward(tokens, offset)))
}

fn load_glm4(config: Value, weights: VarBuilder<'_>) -> Result<Peer> {
    let mut model = glm4_new::ModelForCausalLM::new(&from_value(config).unwrap(), weights)?;
    Ok(Box::new(move |tokens, offset| model.forward(tokens, offset)))
}

/// The configuration as older versions of transformers wrote it, with the fields that candle-transformers requires.
fn config(case: &Path) -> Value {
    let mut config = json!({"use_sliding_window": false, "max_window_layers": 0});
    let own: Value = serde_json::from_slice(&std::fs::read(case.join("config.json")).unwrap()).unwrap();
    for fields in [&own, &own["rope_parameters"]] {
        config
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
    }
    config
}

fn weights(case: &Path, files: &[String]) -> VarBuilder<'static> {
    let mut tensors = HashMap::new();
    for file in files.iter().filter(|file| file.ends_with(".safetensors")) {
        tensors.extend(safetensors::load(case.join(file), &Device::Cpu).unwrap());
    }
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// The prompt in one piece, then token by token: logits from the end of the prompt on.
fn peer_logits(peer: &mut Peer, ids: &[u32], prompt: usize) -> Result<Vec<f32>> {
    let mut logits = Vec::new();
    let pieces = std::iter::once(0..prompt).chain((prompt..ids.len()).map(|i| i..i + 1));
    for piece in pieces {
        let tokens = Tensor::new(&ids[piece.clone()], &Device::Cpu)?.unsqueeze(0)?;
        logits.extend(peer(&tokens, piece.start)?.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(logits)
}

#[test]
fn logits_equal_those_of_candle_transformers() {
    let mut compared = Vec::new();
    for case in cases() {
        let name = case.file_name().unwrap().to_str().unwrap();
        let Some((_, load)) = COMPARED.iter().find(|(own, _)| *own == name) else { continue };
        let (form, expected) = (forms(&case).pop().unwrap(), expected(&case));
        let mut runner = runner(&case, &form);
        for (expected, ours) in expected.iter().zip(logits(&mut runner, &expected)) {
            let mut peer = load(config(&case), weights(&case, &form)).unwrap_or_else(|e| panic!("{name}: {e}"));
            let theirs = peer_logits(&mut peer, &expected.ids, expected.prompt).unwrap();
            let ours = &ours[(expected.prompt - 1) * runner.vocab()..];
            assert_eq!(ours.len(), theirs.len(), "{name}");
            let most = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most <= LOGITS, "{name}: logits differ by {most:e}");
        }
        compared.push(name.to_owned());
    }
    assert_eq!(compared.len(), COMPARED.len());
}

#[test]
fn every_golden_is_compared_or_the_reason_is_known() {
    for case in cases() {
        let name = case.file_name().unwrap().to_str().unwrap();
        let known = COMPARED.iter().map(|(own, _)| own).chain(NOT_COMPARED.iter().map(|(own, _)| own));
        assert_eq!(known.filter(|own| **own == name).count(), 1, "{name}");
    }
}
