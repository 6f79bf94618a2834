//! Tokenizers out of Hugging Face's `tokenizer.json` and `tokenizer_config.json`.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::{AddedToken, Model as _, ModelWrapper};

use super::added::Added;
use super::bytes::{self, Spelling};
use super::components::{Decoder, FILE, affixes, component, kind, normalizer, steps};
use super::special::SpecialIds;
use super::vocabulary::{MAX_TOKEN, TokenKind, Vocabulary};
use super::{Parts, Tokenizer};
use crate::Error;

const CONFIG: &str = "tokenizer_config.json";

/// Ids may skip this many rows.
const MAX_HOLES: usize = 1 << 20;

/// Named special tokens of a configuration.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl Tokenizer {
    /// Builds the tokenizer of a Hugging Face model from the bytes of its files.
    ///
    /// Truncation and padding set in the file are ignored; added tokens of the configuration override the file's, as
    /// in transformers.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Unsupported`].
    pub fn from_hf(tokenizer_json: &[u8], tokenizer_config: Option<&[u8]>) -> Result<Self, Error> {
        let file: File = parse(FILE, tokenizer_json)?;
        let config: Config = tokenizer_config.map_or(Ok(Config::default()), |bytes| parse(CONFIG, bytes))?;
        check_model(&file.model)?;
        let model: ModelWrapper = component("model", file.model)?;
        let pieces = model.get_vocab();
        let named = config.named()?;
        let added = added(file.added_tokens, &config, &named, &pieces)?;
        let decoder = Decoder::read(file.decoder.as_ref())?;
        let vocabulary = vocabulary(&pieces, &added, decoder.spelling, unknown(&model))?;
        let id = |name: &str| named.get(name).and_then(|text| id_of(text, &added, &pieces));
        let special = SpecialIds {
            bos: id("bos_token"),
            eos: id("eos_token"),
            unknown: id("unk_token"),
            padding: id("pad_token"),
            ..SpecialIds::default()
        };
        let (prefix, suffix) = match (config.affixes(), file.post_processor) {
            (Some((bos, eos)), _) => {
                let wanted = |add: bool, id: Option<u32>| id.filter(|_| add).into_iter().collect();
                (wanted(bos, special.bos), wanted(eos, special.eos))
            }
            (None, Some(processor)) => affixes(&component("post_processor", processor)?)?,
            (None, None) => Default::default(),
        };
        let steps = file.pre_tokenizer.map_or(Ok(Vec::new()), steps)?;
        let normalizer = file.normalizer.map(normalizer).transpose()?;
        let names = NAMES.iter().filter_map(|&name| Some((name.to_owned(), named.get(name)?.clone()))).collect();
        Self::build(Parts {
            model,
            normalizer,
            steps,
            added,
            vocabulary,
            spelling: decoder.spelling,
            strip_space: decoder.strip_space,
            prefix,
            suffix,
            special,
            names,
        })
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedEntry>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    model: Value,
}

#[derive(Deserialize)]
struct AddedEntry {
    id: u32,
    #[serde(flatten)]
    token: Flags,
}

#[derive(Clone, Deserialize)]
struct Flags {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

impl From<Flags> for AddedToken {
    fn from(flags: Flags) -> Self {
        Self::from(flags.content, flags.special)
            .single_word(flags.single_word)
            .lstrip(flags.lstrip)
            .rstrip(flags.rstrip)
            .normalized(flags.normalized)
    }
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    added_tokens_decoder: BTreeMap<String, Flags>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Config {
    /// Named special tokens: a string, or an object with `content`.
    fn named(&self) -> Result<HashMap<&'static str, String>, Error> {
        let mut named = HashMap::new();
        for name in NAMES {
            let text = match self.rest.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::Object(object)) => object.get("content").and_then(Value::as_str),
                Some(value) => value.as_str(),
            };
            let text = text.ok_or_else(|| Error::malformed(CONFIG, name, kind(self.rest.get(name)), "a token"))?;
            named.insert(name, text.to_owned());
        }
        Ok(named)
    }

    /// Whether BOS and EOS are added, where the configuration says so: it then wins over the post-processor.
    fn affixes(&self) -> Option<(bool, bool)> {
        let flag = |name: &str| self.rest.get(name).map(|value| value.as_bool().unwrap_or(false));
        let (bos, eos) = (flag("add_bos_token"), flag("add_eos_token"));
        (bos.is_some() || eos.is_some()).then(|| (bos.unwrap_or(false), eos.unwrap_or(false)))
    }
}

fn parse<'a, T: Deserialize<'a>>(file: &str, bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::malformed(file, format!("line {}", error.line()), error, "valid JSON of that form"))
}

/// What the BPE builder of `tokenizers` takes for granted: merges make tokens.
fn check_model(model: &Value) -> Result<(), Error> {
    let Some(merges) = model.get("merges").and_then(Value::as_array) else { return Ok(()) };
    let prefix = model.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or_default();
    let known = |part: &str| model.get("vocab").and_then(|vocab| vocab.get(part)).is_some();
    for (index, merge) in merges.iter().enumerate() {
        let makes_token = |(left, right): (&str, &str)| {
            let end = right.strip_prefix(prefix)?;
            (known(left) && known(right) && known(&format!("{left}{end}"))).then_some(())
        };
        if pair(merge).and_then(makes_token).is_none() {
            let expected = "two tokens that together make a token";
            return Err(Error::malformed(FILE, format!("model.merges[{index}]"), merge, expected));
        }
    }
    Ok(())
}

/// `"a b"`, or `["a", "b"]`.
fn pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(merge) => merge.split_once(' '),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some((left.as_str(), right.as_str())),
            _ => None,
        },
        _ => None,
    }
}

/// The merges of a `tokenizer.json` that was read before; the model itself does not show them.
pub(super) fn merges(tokenizer_json: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let file: File = parse(FILE, tokenizer_json)?;
    let merges = file.model.get("merges").and_then(Value::as_array);
    let pairs = merges.into_iter().flatten().filter_map(pair);
    Ok(pairs.map(|(left, right)| (left.to_owned(), right.to_owned())).collect())
}

fn unknown(model: &ModelWrapper) -> Option<u32> {
    match model {
        ModelWrapper::BPE(bpe) => bpe.token_to_id(bpe.unk_token.as_deref()?),
        _ => None,
    }
}

fn id_of(text: &str, added: &[Added], pieces: &HashMap<String, u32>) -> Option<u32> {
    added.iter().find(|added| added.token.content == text).map(|added| added.id).or_else(|| pieces.get(text).copied())
}

/// Added tokens of the file, overridden by those of the configuration, and the named ones, which are always special.
fn added(
    entries: Vec<AddedEntry>,
    config: &Config,
    named: &HashMap<&str, String>,
    pieces: &HashMap<String, u32>,
) -> Result<Vec<Added>, Error> {
    let mut tokens: BTreeMap<u32, AddedToken> =
        entries.into_iter().map(|entry| (entry.id, entry.token.into())).collect();
    for (id, flags) in &config.added_tokens_decoder {
        let number = id.parse().map_err(|_| Error::malformed(CONFIG, "added_tokens_decoder", id, "a token id"))?;
        tokens.insert(number, flags.clone().into());
    }
    for text in named.values() {
        let there = tokens.values_mut().find(|token| token.content == *text);
        match (there, pieces.get(text)) {
            (Some(token), _) => token.special = true,
            (None, Some(&id)) => drop(tokens.insert(id, AddedToken::from(text.clone(), true))),
            (None, None) => {}
        }
    }
    Ok(tokens.into_iter().map(|(id, token)| Added { id, token }).collect())
}

fn vocabulary(
    pieces: &HashMap<String, u32>,
    added: &[Added],
    spelling: Spelling,
    unknown: Option<u32>,
) -> Result<Vocabulary, Error> {
    let mut tokens: BTreeMap<u32, (Vec<u8>, TokenKind)> = BTreeMap::new();
    for (piece, &id) in pieces {
        let kind = match spelling {
            _ if Some(id) == unknown => TokenKind::Unknown,
            Spelling::SentencePiece if bytes::byte_token(piece).is_some() => TokenKind::Byte,
            _ => TokenKind::Normal,
        };
        tokens.insert(id, (spelling.bytes(piece), kind));
    }
    for Added { id, token } in added {
        let kind = if token.special { TokenKind::Control } else { TokenKind::UserDefined };
        tokens.insert(*id, (token.content.clone().into_bytes(), kind));
    }
    let mut vocabulary = Vocabulary::default();
    let holes = MAX_HOLES + tokens.len();
    for (id, (bytes, kind)) in tokens {
        let row = usize::try_from(id).unwrap_or(usize::MAX);
        if row >= holes || bytes.len() > MAX_TOKEN {
            let found = format!("id {id} with {} bytes", bytes.len());
            return Err(Error::malformed(FILE, "vocabulary", found, format!("ids below {holes}, {MAX_TOKEN} bytes")));
        }
        while vocabulary.len() < row {
            vocabulary.push(None);
        }
        vocabulary.push(Some((&bytes, kind)));
    }
    Ok(vocabulary)
}
