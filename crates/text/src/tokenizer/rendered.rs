//! Encoding a rendered chat: the template's control tokens are tokens, those in messages are text.

use super::Tokenizer;
use crate::Error;

impl Tokenizer {
    /// Texts of the control tokens.
    pub fn control_texts(&self) -> impl Iterator<Item = &str> {
        self.added.iter().filter(|added| added.token.special).map(|added| added.token.content.as_str())
    }

    /// Placeholder until templates are in.
    pub fn encode_template_text(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encode(text, super::Special::TEMPLATE)
    }
}
