//! Text to token ids and back, from Hugging Face files or from GGUF.
//!
//! The merging is that of the `tokenizers` crate; nothing of it shows in the interface.

mod added;
mod bytes;
mod components;
mod gguf;
mod gguf_write;
mod hf;
mod pre;
mod rendered;
mod special;
mod split;
mod spm;
mod vocabulary;

use std::collections::HashMap;

use tokenizers::{AddedVocabulary, Model as _, ModelWrapper, NormalizerWrapper, OffsetReferential, OffsetType};

pub use self::special::{Special, SpecialIds};
pub use self::vocabulary::TokenKind;

use self::added::{Added, matcher};
use self::bytes::Spelling;
use self::split::Step;
use self::vocabulary::Vocabulary;
use crate::detokenize::Detokenizer;
use crate::error::Error;

/// Most bytes of text that one call tokenizes.
pub const MAX_TEXT: usize = 64 << 20;

/// A tokenizer. Built once, shared by any number of threads.
pub struct Tokenizer {
    model: ModelWrapper,
    normalizer: Option<NormalizerWrapper>,
    steps: Vec<Step>,
    added: Vec<Added>,
    /// Finds every added token.
    parsing: AddedVocabulary,
    /// Finds only those that a user may write: not control tokens.
    plain: AddedVocabulary,
    vocabulary: Vocabulary,
    ids: HashMap<String, u32>,
    spelling: Spelling,
    strip_space: bool,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    special: SpecialIds,
    names: Vec<(String, String)>,
}

/// What a loader finds out; [`Tokenizer::build`] makes the rest.
struct Parts {
    model: ModelWrapper,
    normalizer: Option<NormalizerWrapper>,
    steps: Vec<Step>,
    added: Vec<Added>,
    vocabulary: Vocabulary,
    spelling: Spelling,
    /// Decoding drops one space in front of everything.
    strip_space: bool,
    /// Put before and after a text where [`Special::affixes`] is set.
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    special: SpecialIds,
    /// `bos_token` and the like with their texts, for templates.
    names: Vec<(String, String)>,
}

impl Tokenizer {
    fn build(parts: Parts) -> Result<Self, Error> {
        let Parts { model, normalizer, steps, added, vocabulary, spelling, strip_space, .. } = parts;
        let as_is = |token: &tokenizers::AddedToken| token.content.clone();
        let parsing = matcher(added.iter(), normalizer.as_ref(), as_is)?;
        let plain = matcher(added.iter().filter(|added| !added.token.special), normalizer.as_ref(), as_is)?;
        let ids = added.iter().map(|added| (added.token.content.clone(), added.id)).collect();
        let (prefix, suffix, special, names) = (parts.prefix, parts.suffix, parts.special, parts.names);
        Ok(Self {
            model,
            normalizer,
            steps,
            added,
            parsing,
            plain,
            vocabulary,
            ids,
            spelling,
            strip_space,
            prefix,
            suffix,
            special,
            names,
        })
    }

    /// Token ids of a text.
    ///
    /// # Errors
    /// [`Error::TooLong`] past [`MAX_TEXT`]; [`Error::Tokenize`] where the splitting regex gives up, which takes a run
    /// of about a million spaces.
    pub fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>, Error> {
        let matcher = if special.parse { &self.parsing } else { &self.plain };
        let ids = self.encode_with(matcher, text)?;
        Ok(if special.affixes { self.affixed(ids) } else { ids })
    }

    /// Token ids of bytes that need not be UTF-8.
    ///
    /// Byte-level vocabularies take each byte that is not part of a character as its own token, so that
    /// [`decode_bytes`](Self::decode_bytes) gives the input back.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode), and [`Error::NotUtf8`] where the vocabulary works on characters.
    pub fn encode_bytes(&self, bytes: &[u8], special: Special) -> Result<Vec<u32>, Error> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return self.encode(text, special);
        }
        check_length(bytes.len())?;
        let matcher = if special.parse { &self.parsing } else { &self.plain };
        let mut ids = Vec::new();
        let mut offset = 0;
        for chunk in bytes.utf8_chunks() {
            ids.extend(self.encode_with(matcher, chunk.valid())?);
            offset += chunk.valid().len();
            for &byte in chunk.invalid() {
                ids.push(self.byte_id(byte).ok_or(Error::NotUtf8 { offset })?);
                offset += 1;
            }
        }
        Ok(if special.affixes { self.affixed(ids) } else { ids })
    }

    /// The token of one byte of a byte-level vocabulary. SentencePiece has byte tokens too, but puts a space before
    /// the text on either side.
    fn byte_id(&self, byte: u8) -> Option<u32> {
        (self.spelling == Spelling::ByteLevel).then(|| self.model.token_to_id(&self.spelling.piece(byte)?)).flatten()
    }

    fn affixed(&self, ids: Vec<u32>) -> Vec<u32> {
        [self.prefix.as_slice(), &ids, &self.suffix].concat()
    }

    fn encode_with(&self, matcher: &AddedVocabulary, text: &str) -> Result<Vec<u32>, Error> {
        check_length(text.len())?;
        let mut pieces = matcher.extract_and_normalize(self.normalizer.as_ref(), text);
        self.steps
            .iter()
            .try_for_each(|step| step.apply(&mut pieces))
            .and_then(|()| pieces.tokenize(|piece| self.model.tokenize(piece.get())))
            .map_err(|error| Error::Tokenize(error.to_string()))?;
        let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::None);
        Ok(splits.into_iter().flat_map(|(_, _, tokens)| tokens.iter().flatten().map(|token| token.id)).collect())
    }

    /// The bytes a token stands for, control tokens as their text. `None` for an id without a token.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.bytes(id)
    }

    /// What a token is. `None` for an id without a token.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.vocabulary.kind(id)
    }

    /// Whether a token is structure and not text.
    pub fn is_control(&self, id: u32) -> bool {
        self.kind(id) == Some(TokenKind::Control)
    }

    /// One more than the largest id. The model's embedding may have more rows: mask those.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The id of a token as the vocabulary spells it: `<|im_end|>`, `Ġthe`, `▁the`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied().or_else(|| self.model.token_to_id(token))
    }

    /// Ids of the tokens with a role.
    pub fn special_ids(&self) -> SpecialIds {
        self.special
    }

    /// Texts of the named special tokens (`bos_token`, `eos_token`, ...), which chat templates print.
    pub fn special_texts(&self) -> &[(String, String)] {
        &self.names
    }

    /// Bytes of a sequence, as they are.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn decode_bytes(&self, ids: &[u32], skip_special: bool) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for &id in ids {
            let token = self.token_bytes(id).ok_or(Error::UnknownId { id, vocab: self.vocab_size() })?;
            if !(skip_special && self.is_control(id)) {
                bytes.extend_from_slice(token);
            }
        }
        if self.strip_space && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        Ok(bytes)
    }

    /// Text of a whole sequence; broken characters become U+FFFD.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.decode_bytes(ids, skip_special)?).into_owned())
    }

    /// A detokenizer for the tokens of one sequence. `at_start`: nothing comes before them, so that SentencePiece's
    /// space in front of the first word is dropped; not so for an answer to a prompt.
    pub fn detokenizer(&self, at_start: bool) -> Detokenizer {
        Detokenizer::new(at_start && self.strip_space)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("spelling", &self.spelling)
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}

fn check_length(bytes: usize) -> Result<(), Error> {
    if bytes > MAX_TEXT { Err(Error::TooLong { bytes, limit: MAX_TEXT }) } else { Ok(()) }
}
