//! Configurations of both containers: what published checkpoints come out as, what is assumed, what is refused.

mod defaults;
mod gguf;
mod published;
mod refusals;

use plimsoll_model::{Decoder, Error, Family, Gqa, Mixer, Rope, Span};
use serde_json::{Value, json};

/// A small model of a family, with the fields that have no default.
fn tiny(model_type: &str) -> Value {
    json!({
        "model_type": model_type,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "vocab_size": 100,
    })
}

/// The configuration with other values, or new fields.
fn with(mut config: Value, changes: Value) -> Value {
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    config
}

fn read(config: &Value) -> Result<Decoder, Error> {
    Family::read_config("config.json", config.to_string().as_bytes()).map(|(_, decoder)| decoder)
}

fn gqa(decoder: &Decoder, layer: usize) -> &Gqa {
    let Mixer::Gqa(gqa) = &decoder.layers[layer].mixer;
    gqa
}

fn rope(decoder: &Decoder) -> &Rope {
    gqa(decoder, 0).rope.as_ref().unwrap()
}

fn spans(decoder: &Decoder) -> Vec<Span> {
    (0..decoder.layers.len()).map(|layer| gqa(decoder, layer).span).collect()
}
