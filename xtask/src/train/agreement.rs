//! The training forward against the goldens that the engine's forward is held to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use plimsoll_formats::{NamedFile, Weights};
use plimsoll_model::{Decoder, Family};
use serde_json::Value;

use super::layout::Layout;
use super::net::logits;

/// Largest absolute difference of a logit.
const LOGITS: f32 = 1e-4;
/// One golden of each family that a demo model has.
const CASES: &[&str] = &["llama-mha", "mistral-window", "qwen3", "glm4"];

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../goldens").join(case)
}

fn decoder(case: &str) -> Decoder {
    let config = fs::read(folder(case).join("config.json")).unwrap();
    Family::read_config("config.json", &config).unwrap().1
}

fn params(case: &str, layout: &Layout) -> Vec<f32> {
    let file = File::open(folder(case).join("model.safetensors")).unwrap();
    let weights = Weights::open(vec![NamedFile { name: "model.safetensors".into(), file }]).unwrap();
    let mut params = vec![f32::NAN; layout.len];
    for slot in &layout.slots {
        // GLM-4 stores gate and up as one tensor: gate first.
        let fused = slot.name.replace("gate_proj", "gate_up_proj").replace("mlp.up_proj", "mlp.gate_up_proj");
        let values = weights.get(&slot.name).or_else(|| weights.get(&fused)).unwrap().to_f32().unwrap();
        let from = if slot.name.contains("mlp.up_proj") { values.len() - slot.range.len() } else { 0 };
        params[slot.range.clone()].copy_from_slice(&values[from..][..slot.range.len()]);
    }
    params
}

#[test]
fn logits_equal_transformers() {
    for case in CASES {
        let decoder = decoder(case);
        let params = params(case, &Layout::new(&decoder));
        let golden: Value = serde_json::from_slice(&fs::read(folder(case).join("golden.json")).unwrap()).unwrap();
        let bytes = fs::read(folder(case).join("logits.f32")).unwrap();
        let rows: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let ints = |value: &Value| serde_json::from_value::<Vec<u32>>(value.clone()).unwrap();
        for prompt in golden["prompts"].as_array().unwrap() {
            let ids = [ints(&prompt["ids"]), ints(&prompt["greedy"])].concat();
            let found = logits(&decoder, &params, &ids);
            let first = prompt["first_row"].as_u64().unwrap() as usize;
            for (i, position) in ints(&prompt["positions"]).into_iter().enumerate() {
                let expected = &rows[(first + i) * decoder.vocab..][..decoder.vocab];
                let found = &found[position as usize * decoder.vocab..][..decoder.vocab];
                let most = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(most <= LOGITS, "{case}: position {position} differs by {most:e}");
            }
        }
    }
}
