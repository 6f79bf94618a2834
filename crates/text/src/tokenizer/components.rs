//! The parts of a `tokenizer.json` around its model: normalizer, pre-tokenizer, post-processor and decoder.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{Encoding, NormalizerWrapper, PostProcessor as _, PostProcessorWrapper, Token};

use super::bytes::Spelling;
use super::pre;
use super::split::Step;
use crate::Error;

/// The file, as messages name it.
pub(super) const FILE: &str = "tokenizer.json";

/// A part in the form the `tokenizers` crate reads.
pub(super) fn component<T: for<'de> Deserialize<'de>>(field: &str, value: Value) -> Result<T, Error> {
    let found = kind(value.get("type"));
    serde_json::from_value(value)
        .map_err(|error| Error::malformed(FILE, field, format!("{found} ({error})"), "what `tokenizers` 0.23 knows"))
}

/// A value as messages name it: strings by themselves, anything else by its type.
pub(super) fn kind(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(_)) => "a bool".to_owned(),
        Some(Value::Number(_)) => "a number".to_owned(),
        Some(Value::Array(_)) => "an array".to_owned(),
        Some(Value::Object(_)) => "an object".to_owned(),
    }
}

/// What the decoder says about the spelling of tokens.
pub(super) struct Decoder {
    pub(super) spelling: Spelling,
    pub(super) strip_space: bool,
}

impl Decoder {
    pub(super) fn read(decoder: Option<&Value>) -> Result<Self, Error> {
        let parts = flatten(decoder, "decoders");
        let mut found = Self { spelling: Spelling::Plain, strip_space: false };
        for part in &parts {
            let text = |key: &str| part.get(key).and_then(Value::as_str).unwrap_or_default();
            match text("type") {
                "ByteLevel" => found.spelling = Spelling::ByteLevel,
                "Metaspace" => {
                    found.spelling = Spelling::SentencePiece;
                    let off = part.get("add_prefix_space") == Some(&Value::Bool(false));
                    found.strip_space = !(off || text("prepend_scheme") == "never");
                }
                "Replace" | "ByteFallback" => found.spelling = Spelling::SentencePiece,
                "Strip" => found.strip_space = part.get("start").and_then(Value::as_u64) == Some(1),
                "Fuse" => {}
                other => {
                    let supported = "ByteLevel, Metaspace, Replace, ByteFallback, Strip, Fuse";
                    return Err(Error::unsupported(FILE, "decoder", other, supported));
                }
            }
        }
        if parts.is_empty() {
            return Err(Error::unsupported(FILE, "decoder", "nothing", "byte-level and SentencePiece decoders"));
        }
        Ok(found)
    }
}

/// The members of nested sequences, in order.
fn flatten<'a>(value: Option<&'a Value>, members: &str) -> Vec<&'a Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(value) => match value.get(members).and_then(Value::as_array) {
            Some(list) => list.iter().flat_map(|member| flatten(Some(member), members)).collect(),
            None => vec![value],
        },
    }
}

/// Tables of compiled character maps are foreign bytes that `tokenizers` trusts.
pub(super) fn normalizer(value: Value) -> Result<NormalizerWrapper, Error> {
    let kinds = flatten(Some(&value), "normalizers");
    if kinds.iter().any(|part| part.get("type").and_then(Value::as_str) == Some("Precompiled")) {
        return Err(Error::unsupported(FILE, "normalizer", "Precompiled", "normalizers without a compiled map"));
    }
    component("normalizer", value)
}

/// Steps of a pre-tokenizer, with every regex run by our own splitter.
pub(super) fn steps(value: Value) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for part in flatten(Some(&value), "pretokenizers") {
        let flag = |key: &str, default: bool| part.get(key).and_then(Value::as_bool).unwrap_or(default);
        match part.get("type").and_then(Value::as_str) {
            Some("Split") => steps.push(split(part)?),
            Some("ByteLevel") if flag("use_regex", true) => {
                if flag("add_prefix_space", true) {
                    steps.push(Step::PrefixSpace);
                }
                steps.push(regex(pre::GPT2)?);
                let rest = serde_json::json!({
                    "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
                });
                steps.push(Step::Other(Box::new(component("pre_tokenizer", rest)?)));
            }
            _ => steps.push(Step::Other(Box::new(component("pre_tokenizer", part.clone())?))),
        }
    }
    Ok(steps)
}

fn split(part: &Value) -> Result<Step, Error> {
    let pattern = part.get("pattern");
    let text = |key: &str| pattern.and_then(|pattern| pattern.get(key)).and_then(Value::as_str);
    let step = match (text("Regex"), text("String")) {
        (Some(pattern), _) => regex(pattern)?,
        (None, Some(text)) => regex(&fancy_regex::escape(text))?,
        (None, None) => {
            return Err(Error::malformed(FILE, "pre_tokenizer.pattern", kind(pattern), "a Regex or a String"));
        }
    };
    let Step::Split { regex, .. } = step else { return Ok(step) };
    let behavior = component("pre_tokenizer.behavior", part.get("behavior").cloned().unwrap_or_default())?;
    let invert = part.get("invert").and_then(Value::as_bool).unwrap_or(false);
    Ok(Step::Split { regex, invert, behavior })
}

fn regex(pattern: &str) -> Result<Step, Error> {
    Step::isolated(pattern).map_err(|error| Error::malformed(FILE, "pre_tokenizer", error, "a regex"))
}

/// What a post-processor puts before and after a text.
pub(super) fn affixes(processor: &PostProcessorWrapper) -> Result<(Vec<u32>, Vec<u32>), Error> {
    const TEXT: u32 = u32::MAX;
    let text = Encoding::from_tokens(vec![Token::new(TEXT, String::new(), (0, 0))], 0);
    let processed = processor
        .process(text, None, true)
        .map_err(|error| Error::malformed(FILE, "post_processor", error, "a processor of one text"))?;
    let ids = processed.get_ids();
    let middle = ids.iter().position(|&id| id == TEXT).unwrap_or(ids.len());
    let after = ids.get(middle + 1..).unwrap_or_default();
    Ok((ids.get(..middle).unwrap_or_default().to_vec(), after.to_vec()))
}
