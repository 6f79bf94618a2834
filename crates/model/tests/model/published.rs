//! Published checkpoints: their parameter counts, as the headers of their files add up to, and the size of their caches.

use plimsoll_model::{Family, Part};
use serde_json::{Value, json};

struct Published {
    name: &'static str,
    config: Value,
    params: usize,
    /// Bytes per token of an f16 cache.
    kv_bytes: usize,
}

fn published(name: &'static str, params: usize, kv_bytes: usize, config: Value) -> Published {
    Published { name, config, params, kv_bytes }
}

fn checkpoints() -> Vec<Published> {
    let llama3_scaling = |factor: f32| {
        json!({
            "factor": factor, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"
        })
    };
    vec![
        published(
            "Llama-2-7b-hf",
            6_738_415_616,
            512 << 10,
            json!({
                "model_type": "llama", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008,
                "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32,
                "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-5, "rope_scaling": null,
                "tie_word_embeddings": false, "vocab_size": 32000
            }),
        ),
        published(
            "Meta-Llama-3-8B",
            8_030_261_248,
            128 << 10,
            json!({
                "model_type": "llama", "attention_bias": false, "hidden_act": "silu", "hidden_size": 4096,
                "intermediate_size": 14336, "max_position_embeddings": 8192, "num_attention_heads": 32,
                "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_scaling": null,
                "rope_theta": 500000.0, "tie_word_embeddings": false, "vocab_size": 128256
            }),
        ),
        published(
            "Llama-3.1-8B",
            8_030_261_248,
            128 << 10,
            json!({
                "model_type": "llama", "attention_bias": false, "hidden_act": "silu", "hidden_size": 4096,
                "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": false,
                "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
                "rope_scaling": llama3_scaling(8.0), "rope_theta": 500000.0, "tie_word_embeddings": false,
                "vocab_size": 128256
            }),
        ),
        published(
            "Llama-3.2-1B",
            1_235_814_400,
            32 << 10,
            json!({
                "model_type": "llama", "attention_bias": false, "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
                "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
                "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
                "rope_scaling": llama3_scaling(32.0), "rope_theta": 500000.0, "tie_word_embeddings": true,
                "vocab_size": 128256
            }),
        ),
        published(
            "Llama-3.2-3B",
            3_212_749_824,
            112 << 10,
            json!({
                "model_type": "llama", "attention_bias": false, "head_dim": 128, "hidden_act": "silu",
                "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
                "num_attention_heads": 24, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
                "rope_scaling": llama3_scaling(32.0), "rope_theta": 500000.0, "tie_word_embeddings": true,
                "vocab_size": 128256
            }),
        ),
        published(
            "Mistral-7B-v0.1",
            7_241_732_096,
            128 << 10,
            json!({
                "model_type": "mistral", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
                "max_position_embeddings": 32768, "num_attention_heads": 32, "num_hidden_layers": 32,
                "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 4096,
                "tie_word_embeddings": false, "vocab_size": 32000
            }),
        ),
        published(
            "Mistral-7B-v0.3",
            7_248_023_552,
            128 << 10,
            json!({
                "model_type": "mistral", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
                "max_position_embeddings": 32768, "num_attention_heads": 32, "num_hidden_layers": 32,
                "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0, "sliding_window": null,
                "tie_word_embeddings": false, "vocab_size": 32768
            }),
        ),
        published(
            "Mistral-Nemo-Base-2407",
            12_247_782_400,
            160 << 10,
            json!({
                "model_type": "mistral", "head_dim": 128, "hidden_act": "silu", "hidden_size": 5120,
                "intermediate_size": 14336, "max_position_embeddings": 128000, "num_attention_heads": 32,
                "num_hidden_layers": 40, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
                "sliding_window": null, "tie_word_embeddings": false, "vocab_size": 131072
            }),
        ),
        published(
            "Qwen2.5-0.5B",
            494_032_768,
            12 << 10,
            json!({
                "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 896, "intermediate_size": 4864,
                "max_position_embeddings": 32768, "max_window_layers": 24, "num_attention_heads": 14,
                "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
                "sliding_window": 32768, "tie_word_embeddings": true, "use_sliding_window": false, "vocab_size": 151936
            }),
        ),
        published(
            "Qwen2.5-7B",
            7_615_616_512,
            56 << 10,
            json!({
                "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 18944,
                "max_position_embeddings": 131072, "max_window_layers": 28, "num_attention_heads": 28,
                "num_hidden_layers": 28, "num_key_value_heads": 4, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
                "sliding_window": 131072, "tie_word_embeddings": false, "use_sliding_window": false,
                "vocab_size": 152064
            }),
        ),
        published(
            "Qwen3-0.6B",
            596_049_920,
            112 << 10,
            json!({
                "model_type": "qwen3", "attention_bias": false, "head_dim": 128, "hidden_act": "silu",
                "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960,
                "max_window_layers": 28, "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
                "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
                "tie_word_embeddings": true, "use_sliding_window": false, "vocab_size": 151936
            }),
        ),
        published(
            "Qwen3-4B",
            4_022_468_096,
            144 << 10,
            json!({
                "model_type": "qwen3", "attention_bias": false, "head_dim": 128, "hidden_act": "silu",
                "hidden_size": 2560, "intermediate_size": 9728, "max_position_embeddings": 40960,
                "max_window_layers": 36, "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8,
                "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
                "tie_word_embeddings": true, "use_sliding_window": false, "vocab_size": 151936
            }),
        ),
        published(
            "Qwen3-8B",
            8_190_735_360,
            144 << 10,
            json!({
                "model_type": "qwen3", "attention_bias": false, "head_dim": 128, "hidden_act": "silu",
                "hidden_size": 4096, "intermediate_size": 12288, "max_position_embeddings": 40960,
                "max_window_layers": 36, "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8,
                "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
                "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151936
            }),
        ),
        published(
            "GLM-4-9B-0414",
            9_400_279_040,
            40 << 10,
            json!({
                "model_type": "glm4", "attention_bias": true, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096,
                "intermediate_size": 13696, "max_position_embeddings": 32768, "num_attention_heads": 32,
                "num_hidden_layers": 40, "num_key_value_heads": 2, "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0, "tie_word_embeddings": false, "vocab_size": 151552
            }),
        ),
    ]
}

#[test]
fn parameters_and_cache_follow_from_the_description() {
    for checkpoint in checkpoints() {
        let decoder = super::read(&checkpoint.config).unwrap_or_else(|e| panic!("{}: {e}", checkpoint.name));
        assert_eq!(decoder.params(), checkpoint.params, "{}", checkpoint.name);
        assert_eq!(2 * decoder.kv_values_per_token(), checkpoint.kv_bytes, "{}", checkpoint.name);
    }
}

#[test]
fn every_tensor_has_the_shape_that_is_counted() {
    for checkpoint in checkpoints() {
        let decoder = super::read(&checkpoint.config).unwrap();
        for (id, shape) in decoder.tensors() {
            assert_eq!(decoder.shape(id), Some(shape), "{}: {id}", checkpoint.name);
        }
        assert_eq!(decoder.shape(Part::Q.of(decoder.layers.len())), None);
        assert_eq!(decoder.shape(Part::Head.global()).is_none(), decoder.tied_embeddings);
    }
}

#[test]
fn every_tensor_has_a_name_of_its_own_in_both_containers() {
    for checkpoint in checkpoints() {
        let bytes = checkpoint.config.to_string();
        let (family, decoder) = Family::read_config("config.json", bytes.as_bytes()).unwrap();
        for names in [family.hugging_face, family.gguf] {
            let mut all: Vec<_> = decoder.tensors().iter().map(|(id, _)| names.name(*id).unwrap()).collect();
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count, "{}", checkpoint.name);
        }
    }
}
