//! A tokenizer of Hugging Face as keys of a GGUF file: what `gguf.rs` reads, the other way round.

use std::collections::HashMap;

use plimsoll_formats::gguf::{self, Value};
use tokenizers::{Model as _, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::bytes::Spelling;
use super::components::FILE;
use super::hf::merges;
use super::split::Step;
use super::spm::{self, Rank};
use super::vocabulary::TokenKind;
use super::{Tokenizer, pre};
use crate::{EndTokens, Error};

impl Tokenizer {
    /// Sets the `tokenizer.ggml.*` keys that describe this tokenizer, which was read from `tokenizer_json`, padded to the
    /// `rows` of the embedding; `end` are the tokens that end a generation.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what these keys cannot say: splitting that has no name there, a SentencePiece vocabulary
    /// whose merges do not follow from a score for each piece.
    pub fn write_gguf(
        &self,
        tokenizer_json: &[u8],
        rows: usize,
        end: &EndTokens,
        writer: &mut gguf::Writer<'_>,
    ) -> Result<(), Error> {
        let tokens = self.spelled(rows);
        let kinds: Vec<i32> = (0..).take(tokens.len()).map(|id| type_id(self.kind(id))).collect();
        let merges = merges(tokenizer_json)?;
        match self.spelling {
            Spelling::ByteLevel => {
                writer.set("tokenizer.ggml.model", "gpt2");
                writer.set("tokenizer.ggml.pre", self.pre()?);
                writer.set("tokenizer.ggml.merges", strings(merges.iter().map(|(a, b)| format!("{a} {b}"))));
            }
            Spelling::SentencePiece => {
                writer.set("tokenizer.ggml.model", "llama");
                writer.set("tokenizer.ggml.scores", self.scores(&tokens, &merges)?);
                writer.set("tokenizer.ggml.add_space_prefix", self.strip_space);
            }
            Spelling::Plain => {
                return Err(Error::unsupported(FILE, "decoder", "plain", "byte-level and SentencePiece"));
            }
        }
        writer.set("tokenizer.ggml.token_type", kinds);
        writer.set("tokenizer.ggml.tokens", strings(tokens));
        writer.set("tokenizer.ggml.add_bos_token", !self.prefix.is_empty());
        writer.set("tokenizer.ggml.add_eos_token", !self.suffix.is_empty());
        for (key, id) in self.roles(end) {
            writer.set(&format!("tokenizer.ggml.{key}_token_id"), id);
        }
        Ok(())
    }

    /// Every token as the vocabulary spells it; ids without one are padding.
    fn spelled(&self, rows: usize) -> Vec<String> {
        let padding = |id| format!("[PAD{id}]");
        let mut tokens: Vec<String> = (0..rows.max(self.vocab_size())).map(padding).collect();
        let added = self.added.iter().map(|added| (added.token.content.clone(), added.id));
        for (text, id) in self.model.get_vocab().into_iter().chain(added) {
            if let Some(token) = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id)) {
                *token = text;
            }
        }
        tokens
    }

    /// The name of the way this tokenizer splits.
    fn pre(&self) -> Result<&'static str, Error> {
        let mut patterns = Vec::new();
        for step in &self.steps {
            match step {
                Step::Split { regex, invert: false, behavior: SplitDelimiterBehavior::Isolated } => {
                    patterns.push(regex.as_str());
                }
                Step::Other(step) if matches!(**step, PreTokenizerWrapper::ByteLevel(_)) => {}
                _ => return Err(Error::unsupported(FILE, "pre_tokenizer", "another step", "Split and ByteLevel")),
            }
        }
        let nfc = match &self.normalizer {
            None => false,
            Some(NormalizerWrapper::NFC(_)) => true,
            Some(_) => return Err(Error::unsupported(FILE, "normalizer", "another than NFC", "NFC or none")),
        };
        let ignore_merges = matches!(&self.model, ModelWrapper::BPE(bpe) if bpe.ignore_merges);
        pre::name(&patterns, nfc, ignore_merges).ok_or_else(|| {
            let found = format!("{} (NFC {nfc}, ignore_merges {ignore_merges})", patterns.join("  "));
            Error::unsupported(FILE, "pre_tokenizer", found, format!("those of {}", pre::known()))
        })
    }

    /// A score for each token from which the same merges follow: minus the rank of the first merge that makes it.
    fn scores(&self, tokens: &[String], merges: &[(String, String)]) -> Result<Vec<f32>, Error> {
        let mut ranks: HashMap<String, usize> = HashMap::new();
        for (rank, (left, right)) in merges.iter().enumerate() {
            ranks.entry(format!("{left}{right}")).or_insert(rank);
        }
        let score = |token: &String| -(*ranks.get(&spm::normalized(token)).unwrap_or(&merges.len()) as f32);
        let scores: Vec<f32> = tokens.iter().map(score).collect();
        let ordinary = |id: &u32| matches!(self.kind(*id), Some(TokenKind::Normal | TokenKind::UserDefined));
        let pieces = tokens.iter().zip(0u32..).filter(|(_, id)| ordinary(id));
        let pieces = pieces.map(|(token, id)| (spm::normalized(token), id)).collect();
        if spm::merges(&pieces, Rank::Scores(&scores)) == merges {
            return Ok(scores);
        }
        let supported = "merges that follow from a score for each piece";
        Err(Error::unsupported(FILE, "model.merges", format!("{} others", merges.len()), supported))
    }

    /// Tokens with a role. A generation that ends at more tokens than their texts tell names them end of text, of turn and
    /// of message.
    fn roles(&self, end: &EndTokens) -> Vec<(&'static str, u32)> {
        let known = EndTokens::known(self);
        let eos = self.special.eos.or_else(|| end.iter().next());
        let mut more = end.iter().filter(|&id| !known.contains(id) && Some(id) != eos);
        let named = |name: &str| {
            let (_, text) = self.names.iter().find(|(known, _)| known == name)?;
            self.id(text)
        };
        let roles = [
            ("bos", self.special.bos),
            ("eos", eos),
            ("eot", more.next()),
            ("eom", more.next()),
            ("unknown", self.special.unknown),
            ("padding", self.special.padding),
            ("seperator", named("sep_token")),
            ("mask", named("mask_token")),
        ];
        roles.into_iter().filter_map(|(key, id)| Some((key, id?))).collect()
    }
}

/// The number of a kind in `tokenizer.ggml.token_type`.
fn type_id(kind: Option<TokenKind>) -> i32 {
    match kind {
        Some(TokenKind::Normal) => 1,
        Some(TokenKind::Unknown) => 2,
        Some(TokenKind::Control) => 3,
        Some(TokenKind::UserDefined) => 4,
        Some(TokenKind::Unused) | None => 5,
        Some(TokenKind::Byte) => 6,
    }
}

fn strings(texts: impl IntoIterator<Item = String>) -> Value {
    texts.into_iter().map(String::into_bytes).collect::<Vec<_>>().into()
}
