//! Tokenizers out of GGUF metadata. The reader has checked that arrays match, ids exist and tokens are short.

use std::collections::HashMap;

use plimsoll_formats::gguf::Metadata;
use tokenizers::models::bpe::{BpeBuilder, Vocab};
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::{NFC, Replace, Sequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper};

use super::added::Added;
use super::bytes::{SPACE, Spelling};
use super::special::SpecialIds;
use super::split::Step;
use super::spm::{self, Rank};
use super::vocabulary::{TokenKind, Vocabulary};
use super::{Parts, Tokenizer, pre};
use crate::Error;

impl Tokenizer {
    /// Builds the tokenizer that a GGUF file describes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model or pre-tokenizer this crate does not know, [`Error::Malformed`] where keys
    /// are missing or disagree.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, Error> {
        let file = File::read(metadata)?;
        let model = file.required("model", metadata.text("tokenizer.ggml.model")?)?;
        match model {
            "gpt2" => file.byte_level(),
            "llama" => file.sentence_piece(),
            "gemma4" => file.gemma4(),
            _ => Err(Error::unsupported(metadata.file(), "tokenizer.ggml.model", model, "gpt2, llama, gemma4")),
        }
    }
}

/// What all models have in common.
struct File<'a> {
    metadata: &'a Metadata,
    tokens: &'a [Vec<u8>],
    kinds: Vec<TokenKind>,
    special: SpecialIds,
    names: Vec<(String, String)>,
}

/// Key in `tokenizer.ggml.*_token_id`, and the name templates know the token by.
const NAMED: [(&str, &str); 6] = [
    ("bos", "bos_token"),
    ("eos", "eos_token"),
    ("unknown", "unk_token"),
    ("seperator", "sep_token"),
    ("padding", "pad_token"),
    ("mask", "mask_token"),
];

impl<'a> File<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self, Error> {
        let tokens = metadata.strings("tokenizer.ggml.tokens")?.unwrap_or_default();
        let mut file = Self { metadata, tokens, kinds: Vec::new(), special: SpecialIds::default(), names: Vec::new() };
        if tokens.is_empty() {
            return Err(file.malformed("tokens", "nothing", "an array of strings"));
        }
        file.kinds = file.read_kinds()?;
        file.special = SpecialIds {
            bos: file.special_id("bos")?,
            eos: file.special_id("eos")?,
            eot: file.special_id("eot")?,
            eom: file.special_id("eom")?,
            unknown: file.special_id("unknown")?,
            padding: file.special_id("padding")?,
            fim_prefix: file.special_id("fim_pre")?,
            fim_suffix: file.special_id("fim_suf")?,
            fim_middle: file.special_id("fim_mid")?,
        };
        for (key, name) in NAMED {
            if let Some(text) = file.special_id(key)?.and_then(|id| file.text(id)) {
                file.names.push((name.to_owned(), text.to_owned()));
            }
        }
        Ok(file)
    }

    fn malformed(&self, key: &str, found: impl ToString, expected: impl Into<String>) -> Error {
        Error::malformed(self.metadata.file(), format!("key `tokenizer.ggml.{key}`"), found, expected)
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, Error> {
        value.ok_or_else(|| self.malformed(key, "nothing", "a value"))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        Ok(self.metadata.flag(&format!("tokenizer.ggml.{key}"))?)
    }

    fn text(&self, id: u32) -> Option<&'a str> {
        std::str::from_utf8(self.tokens.get(usize::try_from(id).ok()?)?).ok()
    }

    fn special_id(&self, key: &str) -> Result<Option<u32>, Error> {
        let id = self.metadata.int(&format!("tokenizer.ggml.{key}_token_id"))?;
        Ok(id.and_then(|id| u32::try_from(id).ok()))
    }

    fn read_kinds(&self) -> Result<Vec<TokenKind>, Error> {
        let Some(types) = self.metadata.ints("tokenizer.ggml.token_type")? else {
            return Ok(vec![TokenKind::Normal; self.tokens.len()]);
        };
        types.iter().zip(self.tokens).map(|(&kind, token)| self.read_kind(kind, token)).collect()
    }

    /// 0 is "undefined" in old files. Rows named `[PAD123]` are padding whatever their type says.
    fn read_kind(&self, kind: i64, token: &[u8]) -> Result<TokenKind, Error> {
        let number = token.strip_prefix(b"[PAD").and_then(|rest| rest.strip_suffix(b"]"));
        if number.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)) {
            return Ok(TokenKind::Unused);
        }
        match kind {
            0 | 1 => Ok(TokenKind::Normal),
            2 => Ok(TokenKind::Unknown),
            3 => Ok(TokenKind::Control),
            4 => Ok(TokenKind::UserDefined),
            5 => Ok(TokenKind::Unused),
            6 => Ok(TokenKind::Byte),
            _ => Err(self.malformed("token_type", kind, "0 to 6")),
        }
    }

    /// Tokens with their ids and kinds, those that are not UTF-8 left out: no text becomes one of them.
    fn texts(&self) -> impl Iterator<Item = (&'a str, u32, TokenKind)> {
        let texts = self.tokens.iter().map(|token| std::str::from_utf8(token));
        texts.zip(&self.kinds).zip(0u32..).filter_map(|((text, &kind), id)| Some((text.ok()?, id, kind)))
    }

    fn vocabulary(&self, spelling: Spelling) -> Vocabulary {
        let mut vocabulary = Vocabulary::default();
        for (token, &kind) in self.tokens.iter().zip(&self.kinds) {
            let spelled = match (std::str::from_utf8(token), kind, spelling) {
                (Ok(text), TokenKind::Normal | TokenKind::Byte, _) => Some(spelling.bytes(text)),
                (Ok(text), TokenKind::UserDefined, Spelling::SentencePiece) => Some(spelling.bytes(text)),
                _ => None,
            };
            vocabulary.push(Some((spelled.as_deref().unwrap_or(token), kind)));
        }
        vocabulary
    }

    /// Control and unknown tokens are special, user-defined ones are not; SentencePiece makes runs of spaces by merges.
    fn added(&self, spelling: Spelling) -> Vec<Added> {
        let added = self.texts().filter_map(|(text, id, kind)| {
            let special = match kind {
                TokenKind::Control | TokenKind::Unknown => true,
                TokenKind::UserDefined => false,
                _ => return None,
            };
            let spaces = spelling == Spelling::SentencePiece && text.trim_matches([' ', SPACE]).is_empty();
            (!spaces).then(|| Added { id, token: AddedToken::from(text, special).normalized(false) })
        });
        added.collect()
    }

    fn finish(self, model: BpeBuilder, add_bos: bool, form: Form) -> Result<Tokenizer, Error> {
        let model = model.build().map_err(|error| self.malformed("merges", error, "merges of known tokens"))?;
        let wanted = |add: bool, id: Option<u32>| id.filter(|_| add).into_iter().collect();
        let prefix = wanted(self.flag("add_bos_token")?.unwrap_or(add_bos), self.special.bos);
        let suffix = wanted(self.flag("add_eos_token")?.unwrap_or(false), self.special.eos);
        Tokenizer::build(Parts {
            model: ModelWrapper::BPE(model),
            normalizer: form.normalizer,
            steps: form.steps,
            added: self.added(form.spelling),
            vocabulary: self.vocabulary(form.spelling),
            spelling: form.spelling,
            strip_space: form.strip_space,
            prefix,
            suffix,
            special: self.special,
            names: self.names,
        })
    }

    fn byte_level(self) -> Result<Tokenizer, Error> {
        let metadata = self.metadata;
        let name = self.required("pre", metadata.text("tokenizer.ggml.pre")?)?;
        let Some(pre) = pre::find(name) else {
            return Err(Error::unsupported(metadata.file(), "key `tokenizer.ggml.pre`", name, pre::known()));
        };
        let vocab: HashMap<String, u32> = self.texts().map(|(text, id, _)| (text.to_owned(), id)).collect();
        let merges = self.merges(&vocab)?;
        let model = BpeBuilder::new().vocab_and_merges(vocab.into_iter().collect::<Vocab>(), merges);
        let mut steps = Vec::new();
        for pattern in pre.patterns {
            steps.push(Step::isolated(pattern).map_err(|error| self.malformed("pre", error, "a pattern"))?);
        }
        steps.push(Step::Other(Box::new(ByteLevel::new(false, true, false).into())));
        let normalizer = pre.nfc.then(|| NFC.into());
        let form = Form { normalizer, steps, spelling: Spelling::ByteLevel, strip_space: false };
        self.finish(model.ignore_merges(pre.ignore_merges), pre.add_bos, form)
    }

    /// Merges as pairs; `"a b"` is split at the first space after byte 0.
    fn merges(&self, vocab: &HashMap<String, u32>) -> Result<Vec<(String, String)>, Error> {
        let merges = self.required("merges", self.metadata.strings("tokenizer.ggml.merges")?)?;
        let pair = |merge: &[u8]| {
            let merge = std::str::from_utf8(merge).ok()?;
            let first = merge.chars().next()?.len_utf8();
            let (left, right) = merge.split_at(merge.get(first..)?.find(' ')? + first);
            let (left, right) = (left.to_owned(), right.strip_prefix(' ')?.to_owned());
            let known = [&left, &right, &format!("{left}{right}")].iter().all(|part| vocab.contains_key(*part));
            known.then_some((left, right))
        };
        let read = |merge: &Vec<u8>| {
            let found = || String::from_utf8_lossy(merge);
            pair(merge).ok_or_else(|| self.malformed("merges", found(), "two tokens and a space that make a token"))
        };
        merges.iter().map(read).collect()
    }

    fn sentence_piece(self) -> Result<Tokenizer, Error> {
        let architecture = self.metadata.text("general.architecture")?.unwrap_or_default();
        let scores = self.metadata.floats("tokenizer.ggml.scores")?;
        let rank = match &scores {
            _ if architecture.starts_with("gemma") => Rank::Ids,
            Some(scores) if !scores.iter().any(|score| score.is_nan()) => Rank::Scores(scores),
            Some(_) => return Err(self.malformed("scores", "NaN", "numbers")),
            None => return Err(self.malformed("scores", "nothing", "a number for each token")),
        };
        let mut pieces = HashMap::new();
        let mut vocab = Vocab::default();
        for (text, id, kind) in self.texts() {
            let piece = spm::normalized(text);
            if matches!(kind, TokenKind::Normal | TokenKind::UserDefined) {
                if piece.len() > spm::MAX_PIECE {
                    let found = format!("{} bytes in token {id}", piece.len());
                    return Err(self.malformed("tokens", found, format!("at most {}", spm::MAX_PIECE)));
                }
                pieces.insert(piece.clone(), id);
            }
            vocab.insert(piece, id);
        }
        let prefix = self.flag("add_space_prefix")?.unwrap_or(true);
        let model = BpeBuilder::new().vocab_and_merges(vocab, spm::merges(&pieces, rank));
        let model = self.with_unknown(model.byte_fallback(true).fuse_unk(true));
        self.finish(model, true, Form::sentence_piece(prefix))
    }

    /// BPE with merges over characters, spaces visible, bytes for what is unknown.
    fn gemma4(self) -> Result<Tokenizer, Error> {
        let vocab: HashMap<String, u32> = self.texts().map(|(text, id, _)| (text.to_owned(), id)).collect();
        let merges = self.merges(&vocab)?;
        let model = BpeBuilder::new().vocab_and_merges(vocab.into_iter().collect::<Vocab>(), merges);
        let model = self.with_unknown(model.byte_fallback(true).fuse_unk(true));
        let prefix = self.flag("add_space_prefix")?.unwrap_or(false);
        self.finish(model, false, Form::sentence_piece(prefix))
    }

    fn with_unknown(&self, model: BpeBuilder) -> BpeBuilder {
        match self.special.unknown.and_then(|id| self.text(id)) {
            Some(unknown) => model.unk_token(unknown.to_owned()),
            None => model,
        }
    }
}

/// What surrounds the merges.
struct Form {
    normalizer: Option<NormalizerWrapper>,
    steps: Vec<Step>,
    spelling: Spelling,
    strip_space: bool,
}

impl Form {
    fn sentence_piece(prefix: bool) -> Self {
        let space = SPACE.to_string();
        let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
        if prefix {
            normalizers.push(Prepend::new(space.clone()).into());
        }
        normalizers.extend(Replace::new(" ", space).map(NormalizerWrapper::from));
        let normalizer = Some(Sequence::new(normalizers).into());
        Self { normalizer, steps: Vec::new(), spelling: Spelling::SentencePiece, strip_space: prefix }
    }
}
