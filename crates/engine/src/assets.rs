//! What comes with weights: tokenizer, chat template, end tokens, sampling defaults; from either container.

use plimsoll_formats::{Weights, gguf::Metadata, gguf::Writer};
use plimsoll_model::Config;
use plimsoll_text::{EndTokens, Templates, Tokenizer};

use crate::{Defaults, Error, Sampling, Text};

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
const MORE_TEMPLATES: &str = "additional_chat_templates/";

impl Text {
    /// Reads what the files say: the keys of a GGUF (one with a vocabulary alone will do), or the files of Hugging Face.
    ///
    /// # Errors
    /// [`Error::Text`] for a tokenizer that is not sound or of an unknown kind. One that is missing is an error when it is needed.
    pub fn open(weights: &Weights) -> Result<Self, Error> {
        match weights.metadata() {
            Some(metadata) => open_gguf(metadata),
            None => open_hugging_face(weights),
        }
    }
}

fn open_gguf(metadata: &Metadata) -> Result<Text, Error> {
    let there = ["tokenizer.ggml.model", "tokenizer.ggml.tokens"].iter().any(|key| metadata.get(key).is_some());
    let tokenizer = there.then(|| Tokenizer::from_gguf(metadata)).transpose()?;
    let end = tokenizer.as_ref().map(EndTokens::new).unwrap_or_default();
    Ok(Text::new(tokenizer, Templates::from_gguf(metadata)?, end))
}

fn open_hugging_face(weights: &Weights) -> Result<Text, Error> {
    let config = weights.asset(TOKENIZER_CONFIG);
    let tokenizer = weights.asset(TOKENIZER).map(|json| Tokenizer::from_hf(json, config)).transpose()?;
    let mut end = tokenizer.as_ref().map(EndTokens::new).unwrap_or_default();
    for file in ["config.json", "generation_config.json"] {
        if let Some(bytes) = weights.asset(file) {
            end.add_config(file, bytes)?;
        }
    }
    let mut templates = Templates::new();
    if let Some(config) = config {
        templates.add_config(config)?;
    }
    for name in weights.assets() {
        let more = name.strip_prefix(MORE_TEMPLATES).and_then(|name| name.strip_suffix(".jinja"));
        let template = if name == TEMPLATE { Some("default") } else { more };
        if let (Some(template), Some(bytes)) = (template, weights.asset(name)) {
            let source = std::str::from_utf8(bytes).map_err(|error| plimsoll_formats::Error::Malformed {
                file: name.into(),
                field: "text".into(),
                found: error.to_string(),
                expected: "UTF-8".into(),
            })?;
            templates.add(template, source);
        }
    }
    Ok(Text::new(tokenizer, templates, end))
}

/// Generation defaults of the publisher.
pub(crate) fn defaults(weights: &Weights) -> Result<Defaults, Error> {
    match (weights.metadata(), weights.asset("generation_config.json")) {
        (Some(metadata), _) => from_gguf(metadata),
        (None, Some(bytes)) => from_config(&Config::parse("generation_config.json", bytes)?),
        (None, None) => Ok(Defaults::default()),
    }
}

fn from_config(config: &Config) -> Result<Defaults, Error> {
    Ok(Defaults {
        do_sample: config.flag("do_sample")?,
        temperature: config.float("temperature")?,
        top_k: config.count("top_k")?,
        top_p: config.float("top_p")?,
        min_p: config.float("min_p")?,
        repetition_penalty: config.float("repetition_penalty")?,
    })
}

fn from_gguf(metadata: &Metadata) -> Result<Defaults, Error> {
    let top_k = metadata.int("general.sampling.top_k")?;
    Ok(Defaults {
        do_sample: None,
        temperature: metadata.float("general.sampling.temp")?,
        top_k: top_k.and_then(|k| usize::try_from(k).ok()),
        top_p: metadata.float("general.sampling.top_p")?,
        min_p: metadata.float("general.sampling.min_p")?,
        repetition_penalty: metadata.float("general.sampling.penalty_repeat")?,
    })
}

/// Sets the keys that say in a GGUF file what the files of Hugging Face say: tokenizer of `rows` tokens, templates,
/// defaults.
pub(crate) fn write_gguf(
    weights: &Weights,
    text: &Text,
    defaults: &Defaults,
    rows: usize,
    writer: &mut Writer<'_>,
) -> Result<(), Error> {
    if let (Ok(tokenizer), Some(json)) = (text.tokenizer(), weights.asset(TOKENIZER)) {
        tokenizer.write_gguf(json, rows, text.end(), writer)?;
    }
    text.templates().write_gguf(writer);
    let Sampling { temperature, top_k, top_p, min_p, repetition_penalty, .. } = defaults.fill(&Sampling::default());
    let numbers = [("temp", temperature), ("top_p", top_p), ("min_p", min_p), ("penalty_repeat", repetition_penalty)];
    for (key, value) in numbers {
        value.into_iter().for_each(|value| writer.set(&format!("general.sampling.{key}"), value));
    }
    if let Some(top_k) = top_k.and_then(|k| i32::try_from(k).ok()) {
        writer.set("general.sampling.top_k", top_k);
    }
    Ok(())
}
