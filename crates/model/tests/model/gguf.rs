//! Keys of GGUF files: the descriptions they give, what is assumed, what is refused.

use std::collections::BTreeMap;

use plimsoll_model::{Decoder, Error, Family, Keys, Norm, Pairing, Scaling, Span};
use serde_json::{Value, json};

use super::{gqa, rope, with};

/// Keys, and tensors as `[shape, values]`, in JSON; numbers with a point are floats.
struct Header {
    keys: Value,
    tensors: BTreeMap<&'static str, (Vec<usize>, Vec<f32>)>,
}

impl Header {
    fn read<T>(&self, key: &str, expected: &str, convert: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(value) = self.keys.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| Error::invalid(&format!("m.gguf: key `{key}`"), value, expected))
    }
}

impl Keys for Header {
    fn int(&self, key: &str) -> Result<Option<i64>, Error> {
        self.read(key, "an integer", Value::as_i64)
    }

    fn ints(&self, key: &str) -> Result<Option<Vec<i64>>, Error> {
        self.read(key, "integers", |value| match value {
            Value::Array(list) => list.iter().map(Value::as_i64).collect(),
            one => one.as_i64().map(|one| vec![one]),
        })
    }

    /// GGUF floats need not be finite: JSON has no such numbers, so they are strings here.
    fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        let number = |value: &Value| value.as_str().map_or_else(|| value.as_f64(), |s| s.parse().ok());
        self.read(key, "a float", |value| number(value).map(|x| x as f32))
    }

    fn text(&self, key: &str) -> Result<Option<String>, Error> {
        self.read(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    fn shape(&self, tensor: &str) -> Option<Vec<usize>> {
        self.tensors.get(tensor).map(|(shape, _)| shape.clone())
    }

    fn values(&self, tensor: &str) -> Result<Option<Vec<f32>>, Error> {
        Ok(self.tensors.get(tensor).map(|(_, values)| values.clone()))
    }
}

/// The keys every file has.
fn keys(arch: &str) -> Value {
    let mut keys = json!({"general.architecture": arch});
    let sizes = [
        ("block_count", json!(3)),
        ("context_length", json!(512)),
        ("embedding_length", json!(64)),
        ("feed_forward_length", json!(96)),
        ("attention.head_count", json!(8)),
        ("attention.head_count_kv", json!(2)),
        ("attention.layer_norm_rms_epsilon", json!(1e-5)),
    ];
    for (key, value) in sizes {
        keys[format!("{arch}.{key}")] = value;
    }
    keys
}

fn header(keys: Value, tensors: &[(&'static str, &[usize])]) -> Header {
    let embedding = ("token_embd.weight", &[100, 64][..]);
    let tensors = std::iter::once(&embedding).chain(tensors);
    Header { keys, tensors: tensors.map(|(name, shape)| (*name, (shape.to_vec(), vec![]))).collect() }
}

fn read(header: &Header) -> Result<Decoder, Error> {
    Family::read_gguf("m.gguf", header).map(|(_, decoder)| decoder)
}

fn llama(changes: Value) -> Result<Decoder, Error> {
    read(&header(with(keys("llama"), changes), &[]))
}

#[test]
fn what_the_keys_say() {
    let decoder = llama(json!({})).unwrap();
    assert_eq!((decoder.vocab, decoder.width, decoder.context, decoder.layers.len()), (100, 64, 512, 3));
    assert_eq!(decoder.norm, Norm::Rms { eps: 1e-5 });
    assert_eq!((gqa(&decoder, 2).heads, gqa(&decoder, 2).kv_heads, gqa(&decoder, 2).head_dim), (8, 2, 8));
    assert_eq!(gqa(&decoder, 0).span, Span::Full);
    assert_eq!((rope(&decoder).dim, rope(&decoder).theta, &rope(&decoder).scaling), (8, 10000.0, &Scaling::None));

    let changes = json!({
        "llama.attention.head_count": [8, 8, 8],
        "llama.attention.head_count_kv": null,
        "llama.attention.key_length": 16,
        "llama.attention.value_length": 16,
        "llama.attention.sliding_window": 32,
        "llama.attention.scale": 0.5,
        "llama.feed_forward_length": [96, 96, 96],
        "llama.rope.dimension_count": 12,
        "llama.rope.freq_base": 5000.0,
    });
    let decoder = llama(changes).unwrap();
    let gqa = gqa(&decoder, 1);
    assert_eq!((gqa.heads, gqa.kv_heads, gqa.head_dim, gqa.scale), (8, 8, 16, 0.5));
    assert_eq!(gqa.span, Span::Window(32));
    assert_eq!((rope(&decoder).dim, rope(&decoder).theta), (12, 5000.0));
}

#[test]
fn what_the_tensors_say() {
    let flags = |tensors: &[(&'static str, &[usize])]| {
        let decoder = read(&header(keys("llama"), tensors)).unwrap();
        let plimsoll_model::Mlp::Dense(ffn) = decoder.layers[0].mlp;
        (decoder.tied_embeddings, gqa(&decoder, 0).qkv_bias, gqa(&decoder, 0).out_bias, ffn.bias)
    };
    assert_eq!(flags(&[]), (true, false, false, false));
    assert_eq!(flags(&[("output.weight", &[100, 64])]), (false, false, false, false));
    assert_eq!(flags(&[("blk.0.attn_q.bias", &[64])]), (true, true, false, false));
    assert_eq!(flags(&[("blk.0.attn_qkv.bias", &[96])]), (true, true, false, false));
    assert_eq!(flags(&[("blk.0.attn_output.bias", &[64]), ("blk.0.ffn_up.bias", &[96])]), (true, false, true, true));
}

#[test]
fn scaling_of_the_rotation() {
    let magnitude = 0.1 * 4f32.ln() + 1.0;
    let yarn = |original, beta_fast, cos_scale| Scaling::Yarn {
        factor: 4.0,
        original,
        beta_fast,
        beta_slow: 1.0,
        cos_scale,
        truncate: true,
    };
    let linear = Scaling::Linear { factor: 4.0 };
    let cases = [
        (json!({"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}), Scaling::None),
        (json!({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}), linear.clone()),
        (json!({"llama.rope.scaling.factor": 4.0}), linear.clone()),
        (json!({"llama.rope.scale_linear": 4.0}), linear),
        (json!({"llama.rope.scaling.type": "linear"}), Scaling::None),
        (json!({"llama.rope.scaling.factor": 0.0}), Scaling::None),
        (json!({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}), yarn(512.0, 32.0, magnitude)),
        (
            json!({
                "llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.original_context_length": 128, "llama.rope.scaling.yarn_beta_fast": 8.0,
                "llama.rope.scaling.attn_factor": 0.5,
            }),
            yarn(128.0, 8.0, 0.5 * magnitude),
        ),
    ];
    for (changes, expected) in cases {
        assert_eq!(rope(&llama(changes.clone()).unwrap()).scaling, expected, "{changes}");
    }
}

#[test]
fn stored_frequency_factors() {
    let mut header = header(keys("llama"), &[]);
    header.tensors.insert("rope_freqs.weight", (vec![4], vec![1.0, 2.0, 4.0, 8.0]));
    assert_eq!(rope(&read(&header).unwrap()).scaling, Scaling::Factors(vec![1.0, 2.0, 4.0, 8.0]));
    for (values, message) in [
        (vec![1.0; 3], "rope factors is 3; expected 4 values"),
        (vec![1.0, 1.0, 0.0, 1.0], "a number of the rope scaling is 0; expected a positive number"),
        (vec![1.0, f32::NAN, 1.0, 1.0], "a number of the rope scaling is NaN; expected a positive number"),
    ] {
        header.tensors.insert("rope_freqs.weight", (vec![values.len()], values));
        assert_eq!(read(&header).unwrap_err().to_string(), format!("m.gguf: {message}"));
    }
}

/// The two containers of one model describe the same mathematics; GGUF stores Llama's q and k for adjacent pairs.
#[test]
fn both_containers_agree() {
    type Tensors = &'static [(&'static str, &'static [usize])];
    const HEAD: (&str, &[usize]) = ("output.weight", &[100, 64]);
    const BIAS: (&str, &[usize]) = ("blk.0.attn_q.bias", &[64]);
    let families: [(&str, Tensors, Value, Value); 5] = [
        ("llama", &[HEAD], json!({}), json!({})),
        (
            "mistral",
            &[HEAD],
            json!({"sliding_window": null, "head_dim": 16}),
            json!({"llama.attention.key_length": 16}),
        ),
        ("qwen2", &[HEAD, BIAS], json!({}), json!({})),
        (
            "qwen3",
            &[],
            json!({"head_dim": 16, "tie_word_embeddings": true}),
            json!({"qwen3.attention.key_length": 16, "qwen3.attention.value_length": 16}),
        ),
        (
            "glm4",
            &[HEAD, BIAS],
            json!({"head_dim": 8, "attention_bias": true}),
            json!({"glm4.rope.dimension_count": 4}),
        ),
    ];
    for (model_type, tensors, config, changes) in families {
        let common = json!({"num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5});
        let mut expected = super::read(&with(with(super::tiny(model_type), common), config)).unwrap();
        let arch = if model_type == "mistral" { "llama" } else { model_type };
        if arch == "llama" {
            for layer in &mut expected.layers {
                let plimsoll_model::Mixer::Gqa(gqa) = &mut layer.mixer;
                gqa.rope.as_mut().unwrap().pairing = Pairing::Adjacent;
            }
        }
        let (family, found) = Family::read_gguf("m.gguf", &header(with(keys(arch), changes), tensors)).unwrap();
        assert_eq!(family.name, arch);
        assert_eq!(found, expected, "{model_type}");
    }
}

#[test]
fn refusals() {
    let cases = [
        (json!({"general.architecture": null}), "general.architecture is missing; expected a model family"),
        (
            json!({"general.architecture": "mamba"}),
            "general.architecture is mamba, which is not supported; supported: llama, qwen2, qwen3, glm4",
        ),
        (json!({"general.architecture": 1}), "key `general.architecture` is 1; expected a string"),
        (
            json!({"llama.expert_count": 8}),
            "llama.expert_count is 8, which is not supported; supported: dense models (0 or absent)",
        ),
        (json!({"llama.block_count": null}), "llama.block_count is missing; expected a positive integer"),
        (json!({"llama.block_count": 0}), "llama.block_count is 0; expected 1 to 4096"),
        (json!({"llama.block_count": -3}), "llama.block_count is -3; expected a non-negative integer"),
        (json!({"llama.block_count": "3"}), "key `llama.block_count` is \"3\"; expected an integer"),
        (json!({"llama.block_count": i64::MAX}), "llama.block_count is 9223372036854775807; expected 1 to 4096"),
        (json!({"llama.embedding_length": null}), "llama.embedding_length is missing; expected a positive integer"),
        (json!({"llama.context_length": null}), "llama.context_length is missing; expected a positive integer"),
        (json!({"llama.context_length": 0}), "context length is 0; expected 1 to 268435456"),
        (
            json!({"llama.feed_forward_length": null}),
            "llama.feed_forward_length is missing; expected a positive integer",
        ),
        (
            json!({"llama.feed_forward_length": [96, 96]}),
            "llama.feed_forward_length is 2 values; expected 3, one per layer",
        ),
        (
            json!({"llama.feed_forward_length": [96, 96, 64]}),
            "llama.feed_forward_length is different per layer, which is not supported; supported: the same in every layer",
        ),
        (
            json!({"llama.attention.head_count": []}),
            "llama.attention.head_count is empty; expected one value per layer",
        ),
        (
            json!({"llama.attention.head_count": null}),
            "llama.attention.head_count is missing; expected a positive integer",
        ),
        (json!({"llama.attention.head_count": 0}), "heads is 0; expected 1 to 1048576"),
        (json!({"llama.attention.head_count_kv": 0}), "kv_heads is 0; expected 1 to 1048576"),
        (json!({"llama.attention.head_count_kv": 3}), "heads is 8; expected a multiple of kv_heads, 3"),
        (json!({"llama.attention.key_length": 0}), "head_dim is 0; expected 1 to 4096"),
        (
            json!({"llama.attention.value_length": 16}),
            "llama.attention.value_length is 16, which is not supported; supported: 8, the key's",
        ),
        (
            json!({"llama.attention.layer_norm_rms_epsilon": null}),
            "llama.attention.layer_norm_rms_epsilon is missing; expected a small number",
        ),
        (json!({"llama.attention.layer_norm_rms_epsilon": "NaN"}), "norm eps is NaN; expected a small number"),
        (json!({"llama.attention.scale": "inf"}), "attention scale is inf; expected a positive number"),
        (json!({"llama.rope.freq_base": "NaN"}), "rope theta is NaN; expected a positive number"),
        (
            json!({"llama.rope.dimension_count": 10}),
            "rotated dimensions is 10; expected even, at least 2 and at most head_dim, 8",
        ),
        (
            json!({"llama.rope.scaling.type": "longrope"}),
            "llama.rope.scaling.type is longrope, which is not supported; supported: none, linear, yarn",
        ),
        (json!({"llama.rope.scaling.type": "yarn"}), "llama.rope.scaling.factor is missing; expected a number"),
        (
            json!({"llama.rope.scaling.factor": "-inf"}),
            "a number of the rope scaling is -inf; expected a positive number",
        ),
    ];
    for (changes, expected) in cases {
        let error = llama(changes.clone()).expect_err(&changes.to_string());
        assert_eq!(error.to_string(), format!("m.gguf: {expected}"), "{changes}");
    }

    let mut without_embedding = header(keys("llama"), &[]);
    without_embedding.tensors.clear();
    let error = read(&without_embedding).unwrap_err();
    assert_eq!(error.to_string(), "m.gguf: token_embd.weight is missing; expected the embedding tensor");

    let sections = with(keys("glm4"), json!({"glm4.rope.dimension_sections": [8, 12, 12, 0]}));
    let error = read(&header(sections, &[])).unwrap_err();
    let expected = "glm4.rope.dimension_sections is present, which is not supported; supported: text models without it";
    assert_eq!(error.to_string(), format!("m.gguf: {expected}"));
}
