//! What a `config.json` means by what it does not say, family by family.

use plimsoll_model::{Decoder, Norm, Pairing, QkNorm, Residual, Rope, Scaling, Span};
use serde_json::{Value, json};

use super::{gqa, read, rope, spans, tiny, with};

fn tiny_with(model_type: &str, changes: Value) -> Decoder {
    read(&with(tiny(model_type), changes)).unwrap()
}

/// Key/value heads of `model_type` when they are absent, null, and given; 32 heads, which all class defaults divide.
#[test]
fn key_value_heads() {
    for (model_type, absent) in [("llama", 32), ("mistral", 8), ("qwen2", 32), ("qwen3", 32), ("glm4", 2)] {
        let of = |changes| gqa(&tiny_with(model_type, with(json!({"num_attention_heads": 32}), changes)), 0).kv_heads;
        assert_eq!(of(json!({})), absent, "{model_type}");
        assert_eq!(of(json!({"num_key_value_heads": null})), 32, "{model_type}");
        assert_eq!(of(json!({"num_key_value_heads": 16})), 16, "{model_type}");
    }
}

/// Head width of `model_type` when it is absent, null and given; 64 / 8 heads = 8.
#[test]
fn head_width() {
    for (model_type, absent) in [("llama", 8), ("mistral", 8), ("qwen2", 8), ("qwen3", 128), ("glm4", 128)] {
        let of = |changes| {
            let decoder = tiny_with(model_type, with(json!({"num_key_value_heads": 2}), changes));
            (gqa(&decoder, 0).head_dim, gqa(&decoder, 0).scale)
        };
        assert_eq!(of(json!({})), (absent, (absent as f32).powf(-0.5)), "{model_type}");
        assert_eq!(of(json!({"head_dim": null})).0, absent, "{model_type}");
        assert_eq!(of(json!({"head_dim": 16})), (16, 0.25), "{model_type}");
    }
}

#[test]
fn numbers_and_flags() {
    type Row = (&'static str, f32, usize, [bool; 3]);
    // Norm eps, context, and bias on q, k, v, on the output, in the MLP.
    let absent: [Row; 5] = [
        ("llama", 1e-6, 2048, [false; 3]),
        ("mistral", 1e-6, 131_072, [false; 3]),
        ("qwen2", 1e-6, 32768, [true, false, false]),
        ("qwen3", 1e-6, 32768, [false; 3]),
        ("glm4", 1.5625e-7, 131_072, [true, false, false]),
    ];
    for (model_type, eps, context, biases) in absent {
        let decoder = tiny_with(model_type, json!({"num_key_value_heads": 2}));
        assert_eq!(decoder.norm, Norm::Rms { eps }, "{model_type}");
        assert_eq!(decoder.layers[0].norm, Norm::Rms { eps }, "{model_type}");
        assert_eq!(decoder.context, context, "{model_type}");
        assert_eq!(self::biases(&decoder), biases, "{model_type}");
        assert!(!decoder.tied_embeddings, "{model_type}");
        assert_eq!((decoder.embedding_scale, decoder.logit_scale, decoder.logit_softcap), (1.0, 1.0, None));
    }
}

/// The fields that each family's own code reads; qwen2 and mistral read none.
#[test]
fn biases_asked_for() {
    let asked = json!({"num_key_value_heads": 2, "attention_bias": true, "mlp_bias": true});
    let expected = [
        ("llama", [true, true, true]),
        ("mistral", [false; 3]),
        ("qwen2", [true, false, false]),
        ("qwen3", [true, true, false]),
        ("glm4", [true, false, false]),
    ];
    for (model_type, biases) in expected {
        assert_eq!(self::biases(&tiny_with(model_type, asked.clone())), biases, "{model_type}");
    }
    let refused = json!({"num_key_value_heads": 2, "attention_bias": false});
    assert_eq!(self::biases(&tiny_with("glm4", refused.clone())), [false; 3]);
    assert_eq!(self::biases(&tiny_with("qwen2", refused)), [true, false, false]);
}

fn biases(decoder: &Decoder) -> [bool; 3] {
    let plimsoll_model::Mlp::Dense(ffn) = &decoder.layers[0].mlp;
    [gqa(decoder, 0).qkv_bias, gqa(decoder, 0).out_bias, ffn.bias]
}

#[test]
fn shape_of_a_block() {
    use QkNorm::{Head, None};
    let expected = [
        ("llama", Residual::PreNorm, None, Pairing::Half, 8),
        ("mistral", Residual::PreNorm, None, Pairing::Half, 8),
        ("qwen2", Residual::PreNorm, None, Pairing::Half, 8),
        ("qwen3", Residual::PreNorm, Head, Pairing::Half, 128),
        ("glm4", Residual::Sandwich, None, Pairing::Adjacent, 64),
    ];
    for (model_type, residual, qk_norm, pairing, dim) in expected {
        let decoder = tiny_with(model_type, json!({"num_key_value_heads": 2}));
        assert_eq!(decoder.layers[0].residual, residual, "{model_type}");
        assert_eq!(gqa(&decoder, 0).qk_norm, qk_norm, "{model_type}");
        assert_eq!(*rope(&decoder), Rope { dim, pairing, theta: 10000.0, scaling: Scaling::None }, "{model_type}");
    }
}

#[test]
fn windows_of_mistral() {
    let window = |changes| spans(&tiny_with("mistral", changes));
    assert_eq!(window(json!({})), [Span::Window(4096); 3]);
    assert_eq!(window(json!({"sliding_window": null})), [Span::Full; 3]);
    assert_eq!(window(json!({"sliding_window": 16})), [Span::Window(16); 3]);
}

#[test]
fn windows_of_qwen() {
    use Span::{Full, Window};
    let cases = [
        (json!({}), [Full; 3]),
        (json!({"use_sliding_window": false, "sliding_window": 16, "max_window_layers": 0}), [Full; 3]),
        (json!({"use_sliding_window": false, "sliding_window": 0}), [Full; 3]),
        (json!({"use_sliding_window": true, "sliding_window": null, "max_window_layers": 0}), [Full; 3]),
        (json!({"use_sliding_window": true, "sliding_window": 16}), [Full; 3]), // from layer 28 on
        (json!({"use_sliding_window": true, "max_window_layers": 0}), [Window(4096); 3]),
        (json!({"use_sliding_window": true, "sliding_window": 16, "max_window_layers": 2}), [Full, Full, Window(16)]),
        (
            json!({
                "use_sliding_window": true, "sliding_window": 16, "max_window_layers": 3,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]
            }),
            [Window(16), Full, Window(16)],
        ),
        (
            json!({
                "use_sliding_window": false, "sliding_window": 16,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]
            }),
            [Full; 3],
        ),
    ];
    for (changes, expected) in cases {
        for model_type in ["qwen2", "qwen3"] {
            let config = with(json!({"num_key_value_heads": 2}), changes.clone());
            assert_eq!(spans(&tiny_with(model_type, config)), expected, "{model_type} {changes}");
        }
    }
}

/// The dictionary under either name, then the top level, then the class.
#[test]
fn base_of_the_rotation() {
    let cases = [
        (json!({}), 10000.0),
        (json!({"rope_theta": 5000.0}), 5000.0),
        (json!({"rope_theta": 5000.0, "rope_scaling": null, "rope_parameters": null}), 5000.0),
        (json!({"rope_theta": 5000.0, "rope_parameters": {"rope_type": "default"}}), 5000.0),
        (json!({"rope_theta": 5000.0, "rope_parameters": {"rope_theta": 7000}}), 7000.0),
        (json!({"rope_theta": 5000.0, "rope_scaling": {"type": "default", "rope_theta": 8000.0}}), 8000.0),
        (json!({"rope_parameters": {"rope_theta": 7000.0}, "rope_scaling": {"rope_theta": 8000.0}}), 7000.0),
        (json!({"rope_parameters": null, "rope_scaling": {"rope_theta": 8000.0}}), 8000.0),
    ];
    for (changes, theta) in cases {
        assert_eq!(rope(&tiny_with("llama", changes.clone())).theta, theta, "{changes}");
    }
}

#[test]
fn rotated_part_of_a_head() {
    let cases = [
        (json!({}), 8),
        (json!({"partial_rotary_factor": 1.0}), 16),
        (json!({"partial_rotary_factor": 0.25}), 4),
        (json!({"partial_rotary_factor": 0.25, "rope_parameters": {"partial_rotary_factor": 0.75}}), 12),
    ];
    for (changes, dim) in cases {
        let config = with(json!({"head_dim": 16}), changes.clone());
        assert_eq!(rope(&tiny_with("glm4", config)).dim, dim, "{changes}");
    }
}

#[test]
fn scaling_of_the_rotation() {
    let llama3 = |original| Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original };
    let yarn = |original, beta_fast, cos_scale, truncate| Scaling::Yarn {
        factor: 4.0,
        original,
        beta_fast,
        beta_slow: 1.0,
        cos_scale,
        truncate,
    };
    let magnitude = |mscale: f32| 0.1 * mscale * 4f32.ln() + 1.0;
    let cases = [
        (json!({"rope_type": "default", "factor": 8.0}), Scaling::None),
        (json!({"factor": 8.0}), Scaling::None),
        (json!({"rope_type": "linear", "factor": 2}), Scaling::Linear { factor: 2.0 }),
        (json!({"type": "linear", "factor": 2.0}), Scaling::Linear { factor: 2.0 }),
        (json!({"rope_type": null, "type": "linear", "factor": 2.0}), Scaling::Linear { factor: 2.0 }),
        (json!({"rope_type": "default", "type": "linear", "factor": 2.0}), Scaling::None),
        (
            json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192
            }),
            llama3(8192.0),
        ),
        (json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}), llama3(512.0)),
        (json!({"type": "yarn", "factor": 4.0}), yarn(512.0, 32.0, magnitude(1.0), true)),
        (
            json!({
                "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 8,
                "attention_factor": 1.5, "truncate": false
            }),
            yarn(128.0, 8.0, 1.5, false),
        ),
        (
            json!({"rope_type": "yarn", "factor": 4.0, "mscale": 2.0, "mscale_all_dim": 0.5}),
            yarn(512.0, 32.0, magnitude(2.0) / magnitude(0.5), true),
        ),
        // Both or neither.
        (json!({"rope_type": "yarn", "factor": 4.0, "mscale": 2.0}), yarn(512.0, 32.0, magnitude(1.0), true)),
        (
            json!({"rope_type": "yarn", "factor": 4.0, "mscale": 2.0, "mscale_all_dim": 0}),
            yarn(512.0, 32.0, magnitude(1.0), true),
        ),
    ];
    for (inner, expected) in cases {
        for key in ["rope_parameters", "rope_scaling"] {
            let decoder = tiny_with("llama", json!({"max_position_embeddings": 512, key: inner}));
            assert_eq!(rope(&decoder).scaling, expected, "{key} {inner}");
        }
    }
}
