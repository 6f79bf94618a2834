//! Mistral 7B and Nemo. GGUF files of them are of the architecture `llama`.

use super::Family;
use crate::config::{Defaults, dense};
use crate::*;

pub(super) const FAMILY: Family = Family {
    name: "mistral",
    model_type: "mistral",
    architecture: None,
    from_config,
    from_gguf: |keys| gguf::dense(keys, "llama", Pairing::Adjacent),
    hugging_face: &names::HUGGING_FACE,
    gguf: &names::GGUF,
};

fn from_config(config: &Config) -> Result<Decoder, Error> {
    let defaults = Defaults {
        kv_heads: Some(8),
        head_dim: None,
        eps: 1e-6,
        context: 4096 * 32,
        rotary: 1.0,
        pairing: Pairing::Half,
    };
    let mut decoder = dense(config, &defaults)?;
    let window = match config.size("sliding_window")? {
        None if !config.is_null("sliding_window") => Some(4096), // absent means v0.1
        given => given,
    };
    for layer in &mut decoder.layers {
        let Mixer::Gqa(gqa) = &mut layer.mixer;
        gqa.span = window.map_or(Span::Full, Span::Window);
    }
    Ok(decoder)
}
