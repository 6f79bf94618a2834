//! What a template is given.

use minijinja::Value;
use serde_json::{Map, Value as Json};

use super::clock::LocalTime;
use super::given::{list, to_value};
use super::globals::strftime_now;
use super::rendered::Marks;
use crate::error::Error;

/// Names under which a message's reasoning is passed, the standard one first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A conversation with everything else that a template may read.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// Messages: objects with `role` and usually `content`, in the form of the OpenAI API. Keys keep their order; those
    /// that are null are left out.
    pub messages: Vec<Json>,
    /// Tools: JSON schemas of functions.
    pub tools: Option<Vec<Json>>,
    /// Documents to answer from, for templates that know them.
    pub documents: Option<Vec<Json>>,
    /// End with the beginning of the assistant's message.
    pub add_generation_prompt: bool,
    /// Named special tokens, `bos_token` and the like: [`Tokenizer::special_texts`](crate::Tokenizer::special_texts).
    pub special: Vec<(String, String)>,
    /// Further variables, `enable_thinking` and the like. They win over all others.
    pub vars: Map<String, Json>,
    /// What `strftime_now` says; `None` is the time of the rendering.
    pub now: Option<LocalTime>,
}

impl Conversation {
    /// A conversation that asks for an answer.
    pub fn new(messages: Vec<Json>) -> Self {
        Self { messages, add_generation_prompt: true, ..Self::default() }
    }

    /// The variables of the template, with control tokens in the user's values marked where `marks` are given.
    pub(super) fn context(&self, marks: Option<&Marks>) -> Result<Value, Error> {
        let mark = |json: &Json| marks.map_or_else(|| to_value(json), |marks| to_value(&marks.mark(json)));
        let given = |items: &Option<Vec<Json>>| -> Value {
            items.as_ref().map_or_else(|| Value::from(()), |items| list(items.iter().map(mark).collect()))
        };
        let mut messages = Vec::new();
        for (index, message) in self.messages.iter().enumerate() {
            messages.push(mark(&normalized(index, message)?));
        }
        let mut context: Vec<(String, Value)> = vec![
            ("strftime_now".to_owned(), strftime_now(self.now)),
            ("messages".to_owned(), list(messages)),
            ("tools".to_owned(), given(&self.tools)),
            ("documents".to_owned(), given(&self.documents)),
            ("add_generation_prompt".to_owned(), self.add_generation_prompt.into()),
        ];
        context.extend(self.special.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))));
        context.extend(self.vars.iter().map(|(name, value)| (name.clone(), mark(value))));
        Ok(Value::from_pairs(context))
    }
}

/// A message as transformers passes it on: without keys that are null, its reasoning under all names in use.
fn normalized(index: usize, message: &Json) -> Result<Json, Error> {
    let Json::Object(message) = message else {
        return Err(Error::malformed("messages", format!("[{index}]"), message, "an object"));
    };
    let given = message.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone()));
    let reasoning = REASONING.iter().find_map(|name| message.get(*name).filter(|value| !value.is_null()));
    let mut normalized = Map::new();
    if let Some(reasoning) = reasoning {
        normalized.insert("thinking".to_owned(), reasoning.clone());
    }
    normalized.extend(given);
    if let Some(reasoning) = reasoning {
        normalized.insert("reasoning_content".to_owned(), reasoning.clone());
    }
    Ok(Json::Object(normalized))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_normalized() {
        let cases = [
            (json!({"role": "user", "content": null}), r#"{"role":"user"}"#),
            (
                json!({"role": "a", "reasoning": "r", "content": ""}),
                r#"{"thinking":"r","role":"a","reasoning":"r","content":"","reasoning_content":"r"}"#,
            ),
            (json!({"reasoning_content": "x", "thinking": "y"}), r#"{"thinking":"y","reasoning_content":"x"}"#),
        ];
        for (message, expected) in cases {
            assert_eq!(normalized(0, &message).unwrap().to_string(), expected);
        }
        assert!(normalized(3, &json!("text")).unwrap_err().to_string().contains("[3]"));
    }
}
