//! Qwen3: a norm on each head's query and key before RoPE, an explicit head width.

use super::{Family, qwen2};
use crate::config::{Defaults, dense};
use crate::*;

pub(super) const FAMILY: Family = Family {
    name: "qwen3",
    model_type: "qwen3",
    architecture: Some("qwen3"),
    from_config,
    from_gguf,
    hugging_face: &names::HUGGING_FACE,
    gguf: &names::GGUF,
};

fn from_config(config: &Config) -> Result<Decoder, Error> {
    let defaults = Defaults {
        kv_heads: Some(32),
        head_dim: Some(128),
        eps: 1e-6,
        context: 32768,
        rotary: 1.0,
        pairing: Pairing::Half,
    };
    let mut decoder = dense(config, &defaults)?;
    qwen2::windows(config, &mut decoder)?;
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    for layer in &mut decoder.layers {
        let Mixer::Gqa(gqa) = &mut layer.mixer;
        (gqa.qkv_bias, gqa.out_bias) = (bias, bias);
    }
    Ok(with_head_norm(decoder))
}

fn from_gguf(keys: &dyn Keys) -> Result<Decoder, Error> {
    Ok(with_head_norm(gguf::dense(keys, "qwen3", Pairing::Half)?))
}

fn with_head_norm(mut decoder: Decoder) -> Decoder {
    for layer in &mut decoder.layers {
        let Mixer::Gqa(gqa) = &mut layer.mixer;
        gqa.qk_norm = QkNorm::Head;
    }
    decoder
}
