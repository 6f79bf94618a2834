//! Renderings that remember which control tokens the template wrote and which came in a message.

use std::ops::Range;

use serde_json::Value as Json;

use super::{Conversation, Template};
use crate::error::Error;
use crate::tokenizer::Tokenizer;

/// Around a control token in a user's value; private-use characters, as in transformers.
const OPEN: char = '\u{F0000}';
const CLOSE: char = '\u{F0001}';

/// The same after `tojson(ensure_ascii=True)`.
const OPEN_ESCAPED: &str = "\\udb80\\udc00";
const CLOSE_ESCAPED: &str = "\\udb80\\udc01";

/// A rendered chat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    text: String,
    literal: Vec<Range<usize>>,
}

impl Rendered {
    /// Exactly what Jinja2 gives.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Byte ranges of [`text`](Self::text) that spell control tokens but came out of messages, tools, documents or
    /// variables: text, not structure. In order, not overlapping.
    pub fn literal(&self) -> &[Range<usize>] {
        &self.literal
    }
}

impl Template {
    /// Renders a conversation for this tokenizer: what a user wrote cannot become structure, whatever it spells.
    ///
    /// # Errors
    /// Those of [`render`](Self::render), and [`Error::Ambiguous`] where the template acts on control tokens inside
    /// messages so that those of the output cannot be told from its own.
    pub fn render_for(&self, conversation: &Conversation, tokenizer: &Tokenizer) -> Result<Rendered, Error> {
        let text = self.render(conversation)?;
        let marks = Marks { controls: controls(tokenizer) };
        if !marks.occur(conversation) {
            return Ok(Rendered { text, literal: Vec::new() });
        }
        let marked = self.run(conversation.context(Some(&marks))?)?;
        let origins = marks.origins(&marked);
        let found = marks.find(&text);
        let same =
            found.iter().map(|range| &text[range.clone()]).eq(origins.iter().map(|(control, _)| control.as_str()));
        if !same {
            return Err(Error::Ambiguous);
        }
        let literal = found.into_iter().zip(origins).filter(|(_, (_, user))| *user).map(|(range, _)| range).collect();
        Ok(Rendered { text, literal })
    }
}

/// Control tokens, longest first.
fn controls(tokenizer: &Tokenizer) -> Vec<String> {
    let mut controls: Vec<String> = tokenizer.control_texts().map(str::to_owned).collect();
    controls.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
    controls
}

/// Finds control tokens and marks those of a user.
pub(super) struct Marks {
    controls: Vec<String>,
}

impl Marks {
    fn at<'a>(&'a self, rest: &str) -> Option<&'a str> {
        self.controls.iter().map(String::as_str).find(|control| !control.is_empty() && rest.starts_with(control))
    }

    /// Where control tokens are in a text.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut end = 0;
        for (start, _) in text.char_indices() {
            if start < end {
                continue;
            }
            if let Some(control) = text.get(start..).and_then(|rest| self.at(rest)) {
                end = start + control.len();
                found.push(start..end);
            }
        }
        found
    }

    fn occur(&self, conversation: &Conversation) -> bool {
        let lists = [Some(&conversation.messages), conversation.tools.as_ref(), conversation.documents.as_ref()];
        let mut values = lists.into_iter().flatten().flatten().chain(conversation.vars.values());
        values.any(|value| self.occur_in(value))
    }

    fn occur_in(&self, value: &Json) -> bool {
        match value {
            Json::String(text) => !self.find(text).is_empty(),
            Json::Array(items) => items.iter().any(|item| self.occur_in(item)),
            Json::Object(entries) => {
                entries.iter().any(|(key, item)| !self.find(key).is_empty() || self.occur_in(item))
            }
            _ => false,
        }
    }

    /// A value with marks around each control token; marks that were there are dropped first.
    pub(super) fn mark(&self, value: &Json) -> Json {
        match value {
            Json::String(text) => Json::String(self.mark_text(text)),
            Json::Array(items) => items.iter().map(|item| self.mark(item)).collect(),
            Json::Object(entries) => entries.iter().map(|(key, item)| (self.mark_text(key), self.mark(item))).collect(),
            _ => value.clone(),
        }
    }

    fn mark_text(&self, text: &str) -> String {
        let text = text.replace([OPEN, CLOSE], "");
        let mut marked = String::with_capacity(text.len());
        let mut copied = 0;
        for Range { start, end } in self.find(&text) {
            marked.push_str(&text[copied..start]);
            marked.extend([OPEN.to_string().as_str(), &text[start..end], CLOSE.to_string().as_str()]);
            copied = end;
        }
        marked.push_str(&text[copied..]);
        marked
    }

    /// The control tokens of a marked rendering, each with whether a user wrote it.
    fn origins(&self, marked: &str) -> Vec<(String, bool)> {
        let marked = marked.replace(OPEN_ESCAPED, &OPEN.to_string()).replace(CLOSE_ESCAPED, &CLOSE.to_string());
        let is_user =
            |range: &Range<usize>| marked[..range.start].ends_with(OPEN) && marked[range.end..].starts_with(CLOSE);
        self.find(&marked).into_iter().map(|range| (marked[range.clone()].to_owned(), is_user(&range))).collect()
    }
}
