//! GLM-4-0414: sandwich norms, RoPE on half of each head in adjacent pairs.

use super::Family;
use crate::config::{Defaults, dense};
use crate::*;

pub(super) const FAMILY: Family = Family {
    name: "glm4",
    model_type: "glm4",
    architecture: Some("glm4"),
    from_config,
    from_gguf,
    hugging_face: &names::HUGGING_FACE,
    gguf: &names::GGUF_GLM4,
};

fn from_config(config: &Config) -> Result<Decoder, Error> {
    let defaults = Defaults {
        kv_heads: Some(2),
        head_dim: Some(128),
        eps: 1.5625e-7,
        context: 131_072,
        rotary: 0.5,
        pairing: Pairing::Adjacent,
    };
    let mut decoder = dense(config, &defaults)?;
    let bias = config.flag("attention_bias")?.unwrap_or(true);
    for layer in &mut decoder.layers {
        let Mixer::Gqa(gqa) = &mut layer.mixer;
        gqa.qkv_bias = bias;
    }
    Ok(with_sandwich(decoder))
}

fn from_gguf(keys: &dyn Keys) -> Result<Decoder, Error> {
    if keys.ints("glm4.rope.dimension_sections")?.is_some() {
        return Err(Error::unsupported("glm4.rope.dimension_sections", "present", "text models without it"));
    }
    Ok(with_sandwich(gguf::dense(keys, "glm4", Pairing::Adjacent)?))
}

fn with_sandwich(mut decoder: Decoder) -> Decoder {
    for layer in &mut decoder.layers {
        layer.residual = Residual::Sandwich;
    }
    decoder
}
