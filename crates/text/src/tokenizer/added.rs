//! Added tokens: texts that are found before anything else is split.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokenizers::models::TrainerWrapper;
use tokenizers::{AddedToken, AddedVocabulary, Model, NormalizerWrapper, Token};

use crate::Error;

/// An added token with its id.
#[derive(Clone, Debug)]
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) token: AddedToken,
}

/// Builds the matcher of some added tokens; `spell` gives the text each is found by.
pub(super) fn matcher<'a>(
    added: impl Iterator<Item = &'a Added>,
    normalizer: Option<&NormalizerWrapper>,
    spell: impl Fn(&AddedToken) -> String,
) -> Result<AddedVocabulary, Error> {
    let mut ids = HashMap::new();
    let mut tokens = Vec::new();
    for Added { id, token } in added {
        let token = AddedToken { content: spell(token), ..token.clone() };
        ids.insert(token.content.clone(), *id);
        tokens.push(token);
    }
    let mut matcher = AddedVocabulary::new();
    matcher.add_tokens(tokens, &Ids(ids), normalizer).map_err(|error| Error::Tokenize(error.to_string()))?;
    Ok(matcher)
}

/// The ids, in the form in which [`AddedVocabulary`] asks for them.
struct Ids(HashMap<String, u32>);

impl Model for Ids {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, _: &str) -> tokenizers::Result<Vec<Token>> {
        Ok(Vec::new())
    }
    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.0.get(token).copied()
    }
    fn id_to_token(&self, _: u32) -> Option<String> {
        None
    }
    fn get_vocab(&self) -> HashMap<String, u32> {
        self.0.clone()
    }
    fn get_vocab_size(&self) -> usize {
        self.0.len()
    }
    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
    fn get_trainer(&self) -> TrainerWrapper {
        tokenizers::models::bpe::BpeTrainer::default().into()
    }
}
