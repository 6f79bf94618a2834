//! Configurations that describe no model: the message names the file, the field, what was found and what was expected.

use serde_json::{Value, json};

use super::{read, tiny, with};

fn refused(config: &Value) -> String {
    read(config).expect_err(&config.to_string()).to_string()
}

fn refusals(model_type: &str, cases: &[(Value, &str)]) {
    for (changes, expected) in cases {
        let config = with(with(tiny(model_type), json!({"num_key_value_heads": 2})), changes.clone());
        assert_eq!(refused(&config), format!("config.json: {expected}"), "{changes}");
    }
}

#[test]
fn sizes() {
    let positive = |value: &str| format!("hidden_size is {value}; expected a positive integer");
    for value in ["0", "-1", "64.5", "\"64\"", "[64]", "true", "{}", "18446744073709551616"] {
        let found: Value = serde_json::from_str(value).unwrap();
        let shown = if value.starts_with("1844") { found.to_string() } else { value.to_owned() };
        refusals("llama", &[(json!({"hidden_size": found}), &positive(&shown))]);
    }
    let cases = [
        (json!({"hidden_size": 1_048_577, "head_dim": 8}), "width is 1048577; expected 1 to 1048576"),
        (json!({"num_hidden_layers": 4097}), "num_hidden_layers is 4097; expected 1 to 4096"),
        (json!({"num_hidden_layers": u64::MAX}), "num_hidden_layers is 18446744073709551615; expected 1 to 4096"),
        (json!({"vocab_size": 1u64 << 40}), "vocabulary is 1099511627776; expected 1 to 16777216"),
        (json!({"intermediate_size": u64::MAX}), "intermediate size is 18446744073709551615; expected 1 to 16777216"),
        (json!({"max_position_embeddings": 1u64 << 29}), "context length is 536870912; expected 1 to 268435456"),
        (json!({"num_attention_heads": 1u64 << 40, "head_dim": 8}), "heads is 1099511627776; expected 1 to 1048576"),
        (json!({"head_dim": u64::MAX}), "head_dim is 18446744073709551615; expected 1 to 4096"),
        (json!({"num_attention_heads": 1024, "head_dim": 4096}), "heads * head_dim is 4194304; expected 1 to 1048576"),
        (json!({"hidden_size": 4}), "head_dim is 0; expected 1 to 4096"), // 4 / 8 heads
        (json!({"num_key_value_heads": 3}), "heads is 8; expected a multiple of kv_heads, 3"),
        (json!({"num_key_value_heads": 16}), "heads is 8; expected a multiple of kv_heads, 16"),
        (json!({"num_key_value_heads": 0}), "num_key_value_heads is 0; expected a positive integer"),
        (json!({"head_dim": 7}), "rotated dimensions is 7; expected even, at least 2 and at most head_dim, 7"),
    ];
    refusals("llama", &cases);
}

#[test]
fn missing_fields() {
    for field in ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"] {
        let mut config = tiny("llama");
        let expected = format!("config.json: {field} is missing; expected a positive integer");
        config[field] = Value::Null;
        assert_eq!(refused(&config), expected);
        config.as_object_mut().unwrap().remove(field);
        assert_eq!(refused(&config), expected);
    }
}

#[test]
fn other_mathematics() {
    let known = "llama, mistral, qwen2, qwen3, glm4";
    let unknown = format!("model_type is gpt_neox, which is not supported; supported: {known}");
    let cases = [
        (json!({"model_type": "gpt_neox"}), unknown.as_str()),
        (json!({"model_type": 7}), "model_type is 7; expected a string"),
        (json!({"model_type": null}), "model_type is missing; expected a model family"),
        (json!({"hidden_act": "gelu"}), "hidden_act is gelu, which is not supported; supported: silu"),
        (json!({"hidden_act": ["silu"]}), r#"hidden_act is ["silu"]; expected a string"#),
        (
            json!({"quantization_config": {"quant_method": "fp8"}}),
            "quantization_config is present, which is not supported; supported: f32, f16 and bf16 weights",
        ),
        (json!({"tie_word_embeddings": "yes"}), r#"tie_word_embeddings is "yes"; expected true or false"#),
        (json!({"attention_bias": 1}), "attention_bias is 1; expected true or false"),
        (json!({"mlp_bias": []}), "mlp_bias is []; expected true or false"),
        (json!({"rms_norm_eps": "1e-5"}), r#"rms_norm_eps is "1e-5"; expected a number"#),
        (json!({"rms_norm_eps": 1e300}), "rms_norm_eps is 1e+300; expected a number"),
        (json!({"rms_norm_eps": -1.0}), "norm eps is -1; expected a small number"),
    ];
    refusals("llama", &cases);
}

#[test]
fn rotations() {
    let linear = |factor: Value| json!({"rope_scaling": {"rope_type": "linear", "factor": factor}});
    let kinds = "which is not supported; supported: default, linear, llama3, yarn";
    let longrope = format!("rope_scaling.rope_type is longrope, {kinds}");
    let dynamic = format!("rope_parameters.rope_type is dynamic, {kinds}");
    let number = "a number of the rope scaling is";
    let per_layer = "is one entry per layer type, which is not supported; supported: one rotation for all layers";
    let cases = [
        (json!({"rope_theta": 0}), "rope theta is 0; expected a positive number"),
        (json!({"rope_theta": -1.0}), "rope theta is -1; expected a positive number"),
        (json!({"rope_theta": "1e4"}), r#"rope_theta is "1e4"; expected a number"#),
        (json!({"rope_parameters": {"rope_theta": []}}), "rope_parameters.rope_theta is []; expected a number"),
        (json!({"rope_scaling": "linear"}), r#"rope_scaling is "linear"; expected an object"#),
        (json!({"rope_scaling": {"rope_type": 1}}), "rope_scaling.rope_type is 1; expected a string"),
        (json!({"rope_scaling": {"type": "longrope", "factor": 2.0}}), longrope.as_str()),
        (json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}), dynamic.as_str()),
        (
            json!({"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": null}}),
            &format!("rope_parameters {per_layer}"),
        ),
        (json!({"rope_scaling": {"type": "linear"}}), "rope_scaling.factor is missing; expected a number"),
        (json!({"rope_scaling": {"type": "yarn"}}), "rope_scaling.factor is missing; expected a number"),
        (
            json!({"rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}}),
            "rope_scaling.high_freq_factor is missing; expected a number",
        ),
        (
            json!({"rope_scaling": {"type": "yarn", "factor": 2.0, "truncate": 1}}),
            "rope_scaling.truncate is 1; expected true or false",
        ),
        (linear(json!("2")), r#"rope_scaling.factor is "2"; expected a number"#),
        (linear(json!(0)), &format!("{number} 0; expected a positive number")),
        (linear(json!(-2.0)), &format!("{number} -2; expected a positive number")),
        (linear(json!(1e39)), "rope_scaling.factor is 1e+39; expected a number"),
        (
            json!({"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": -1.0}}),
            &format!("{number} -1; expected a positive number"),
        ),
        (
            json!({"rope_theta": 1e-30, "rope_scaling": {"type": "linear", "factor": 1e-30}}),
            "rope scaling is a frequency that is not finite; expected finite frequencies",
        ),
        (
            json!({"partial_rotary_factor": 0.0}),
            "rotated dimensions is 0; expected even, at least 2 and at most head_dim, 8",
        ),
        (
            json!({"partial_rotary_factor": 2.0}),
            "rotated dimensions is 16; expected even, at least 2 and at most head_dim, 8",
        ),
    ];
    refusals("llama", &cases);
}

#[test]
fn windows() {
    refusals(
        "mistral",
        &[
            (json!({"sliding_window": 0}), "sliding_window is 0; expected a positive integer"),
            (json!({"sliding_window": "4096"}), r#"sliding_window is "4096"; expected a positive integer"#),
        ],
    );
    let layers = |types: &[&str]| json!({"layer_types": types});
    let full = "full_attention";
    let cases = [
        (layers(&[full, full]), "layer_types is 2 values; expected 3, one per layer"),
        (
            layers(&[full, full, "linear_attention"]),
            "layer_types is linear_attention, which is not supported; supported: full_attention, sliding_attention",
        ),
        (
            json!({"layer_types": [full, full, 1]}),
            r#"layer_types is ["full_attention","full_attention",1]; expected a list of strings"#,
        ),
        (json!({"layer_types": full}), r#"layer_types is "full_attention"; expected a list of strings"#),
        (json!({"max_window_layers": -1}), "max_window_layers is -1; expected a non-negative integer"),
        (json!({"use_sliding_window": "no"}), r#"use_sliding_window is "no"; expected true or false"#),
        (
            json!({"use_sliding_window": true, "sliding_window": 0, "max_window_layers": 0}),
            "window is 0; expected 1 to 268435456",
        ),
    ];
    refusals("qwen2", &cases);
    refusals("qwen3", &cases);
}

#[test]
fn files_that_are_no_object() {
    use plimsoll_model::Family;
    for (bytes, reason) in [
        (&b""[..], "EOF while parsing a value at line 1 column 0"),
        (b"[]", "invalid type: sequence, expected a map at line 1 column 0"),
        (b"{\"model_type\": \"llama\"", "EOF while parsing an object at line 1 column 22"),
        (b"{\"rms_norm_eps\": NaN}", "expected value at line 1 column 18"),
        (b"{\"a\": \"\xff\"}", "invalid unicode code point at line 1 column 8"),
    ] {
        let error = Family::read_config("config.json", bytes).unwrap_err();
        assert_eq!(error.to_string(), format!("config.json: {reason}"));
    }
}

#[test]
fn long_and_strange_values_are_shown_short_and_plain() {
    let message = refused(&json!({"model_type": format!("\u{1b}[31m{}", "x".repeat(1000))}));
    assert!(message.starts_with("config.json: model_type is \u{fffd}[31mxxxx"), "{message}");
    assert!(message.len() < 250, "{message}");
}
