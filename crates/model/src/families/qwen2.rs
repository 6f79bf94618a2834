//! Qwen2 and 2.5: bias on q, k and v; windows on the upper layers where asked for.

use super::Family;
use crate::config::{Defaults, dense};
use crate::*;

pub(super) const FAMILY: Family = Family {
    name: "qwen2",
    model_type: "qwen2",
    architecture: Some("qwen2"),
    from_config,
    from_gguf: |keys| gguf::dense(keys, "qwen2", Pairing::Half),
    hugging_face: &names::HUGGING_FACE,
    gguf: &names::GGUF,
};

fn from_config(config: &Config) -> Result<Decoder, Error> {
    let defaults =
        Defaults { kv_heads: Some(32), head_dim: None, eps: 1e-6, context: 32768, rotary: 1.0, pairing: Pairing::Half };
    let mut decoder = dense(config, &defaults)?;
    windows(config, &mut decoder)?;
    for layer in &mut decoder.layers {
        let Mixer::Gqa(gqa) = &mut layer.mixer;
        gqa.qkv_bias = true;
    }
    Ok(decoder)
}

/// `use_sliding_window` false disables every window; else `layer_types`, or the layers from `max_window_layers` on.
pub(super) fn windows(config: &Config, decoder: &mut Decoder) -> Result<(), Error> {
    let first = config.count("max_window_layers")?.unwrap_or(28);
    let types = config.texts("layer_types")?;
    if let Some(types) = types.as_ref().filter(|types| types.len() != decoder.layers.len()) {
        let expected = format!("{}, one per layer", decoder.layers.len());
        return Err(Error::invalid(&config.field("layer_types"), format!("{} values", types.len()), expected));
    }
    let used = config.flag("use_sliding_window")?.unwrap_or(false) && !config.is_null("sliding_window");
    let window = config.count("sliding_window")?.unwrap_or(4096);
    for (i, layer) in decoder.layers.iter_mut().enumerate() {
        let slides = match types.as_ref().map(|types| types[i]) {
            None => i >= first,
            Some("sliding_attention") => true,
            Some("full_attention") => false,
            Some(other) => {
                let supported = "full_attention, sliding_attention";
                return Err(Error::unsupported(&config.field("layer_types"), other, supported));
            }
        };
        let Mixer::Gqa(gqa) = &mut layer.mixer;
        gqa.span = if used && slides { Span::Window(window) } else { Span::Full };
    }
    Ok(())
}
