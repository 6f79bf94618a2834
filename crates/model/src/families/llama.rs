//! Llama 2, 3, 3.1 and later text models: the reference that the others differ from.

use super::Family;
use crate::config::{Defaults, dense};
use crate::*;

pub(super) const FAMILY: Family = Family {
    name: "llama",
    model_type: "llama",
    architecture: Some("llama"),
    from_config,
    from_gguf,
    hugging_face: &names::HUGGING_FACE,
    gguf: &names::GGUF,
};

fn from_config(config: &Config) -> Result<Decoder, Error> {
    let defaults =
        Defaults { kv_heads: None, head_dim: None, eps: 1e-6, context: 2048, rotary: 1.0, pairing: Pairing::Half };
    let mut decoder = dense(config, &defaults)?;
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    let mlp_bias = config.flag("mlp_bias")?.unwrap_or(false);
    for layer in &mut decoder.layers {
        let Mixer::Gqa(gqa) = &mut layer.mixer;
        (gqa.qkv_bias, gqa.out_bias) = (bias, bias);
        let Mlp::Dense(ffn) = &mut layer.mlp;
        ffn.bias = mlp_bias;
    }
    Ok(decoder)
}

/// The converter permutes the rows of q and k so that adjacent dimensions are rotated together.
fn from_gguf(keys: &dyn Keys) -> Result<Decoder, Error> {
    gguf::dense(keys, "llama", Pairing::Adjacent)
}
