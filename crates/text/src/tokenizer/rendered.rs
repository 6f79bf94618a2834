//! Encoding a rendered chat: the template's control tokens are tokens, those in messages are text.

use super::added::matcher;
use super::{Special, Tokenizer};
use crate::error::Error;
use crate::template::Rendered;

impl Tokenizer {
    /// Texts of the control tokens.
    pub fn control_texts(&self) -> impl Iterator<Item = &str> {
        self.added.iter().filter(|added| added.token.special).map(|added| added.token.content.as_str())
    }

    /// Token ids of a rendered chat. No BOS is added: templates write their own.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    pub fn encode_rendered(&self, rendered: &Rendered) -> Result<Vec<u32>, Error> {
        let text = rendered.text();
        if rendered.literal().is_empty() {
            return self.encode(text, Special::TEMPLATE);
        }
        // The template's own tokens get a mark that occurs nowhere else; only marked ones are looked for.
        let Some(mark) = ('\u{F0000}'..='\u{FFFFD}').find(|&mark| !text.contains(mark)) else {
            return Err(Error::Ambiguous);
        };
        let spell = |token: &tokenizers::AddedToken| {
            if token.special { format!("{mark}{}{mark}", token.content) } else { token.content.clone() }
        };
        let marked = self.mark_own(rendered, mark);
        self.encode_with(&matcher(self.added.iter(), self.normalizer.as_ref(), spell)?, &marked)
    }

    fn mark_own(&self, rendered: &Rendered, mark: char) -> String {
        let text = rendered.text();
        let mut controls: Vec<&str> = self.control_texts().collect();
        controls.sort_unstable_by_key(|control| std::cmp::Reverse(control.len()));
        let mut marked = String::with_capacity(text.len());
        let mut literal = rendered.literal().iter().peekable();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let at = text.len() - rest.len();
            let user = literal.next_if(|range| range.start == at).map(|range| range.len());
            let own = controls.iter().find(|control| rest.starts_with(**control)).map(|control| control.len());
            let length = user.or(own).unwrap_or(first.len_utf8());
            let (piece, after) = rest.split_at(length);
            match (user, own) {
                (None, Some(_)) => marked.extend([mark.to_string().as_str(), piece, mark.to_string().as_str()]),
                _ => marked.push_str(piece),
            }
            rest = after;
        }
        marked
    }
}
