//! A model's way with text: prompts in, answers out.

use plimsoll_text::{Conversation, Detokenizer, EndTokens, Special, StopStrings, Templates, Tokenizer};
use serde_json::Value;

use crate::{Chat, Error, Prompt, Request};

/// Tokenizer, chat templates and end-of-generation tokens of one model.
///
/// A model may come without a tokenizer; then it reads and writes token ids only.
#[derive(Debug)]
pub struct Text {
    tokenizer: Option<Tokenizer>,
    templates: Templates,
    end: EndTokens,
}

impl Text {
    /// Ties the parts together.
    pub fn new(tokenizer: Option<Tokenizer>, templates: Templates, end: EndTokens) -> Self {
        Self { tokenizer, templates, end }
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`]
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.tokenizer.as_ref().ok_or(Error::NoTokenizer)
    }

    /// The chat templates; none for a base model.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The tokens that end a generation.
    pub fn end(&self) -> &EndTokens {
        &self.end
    }

    /// Token ids of a prompt.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a conversation if the model has no chat template; [`Error::Text`] if the template
    /// refuses it, or if the text cannot be tokenized.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, Error> {
        match prompt {
            Prompt::Chat(chat) => self.render(chat),
            Prompt::Text(text) => Ok(self.tokenizer()?.encode(text, Special::PROMPT)?),
            Prompt::Ids(ids) => Ok(ids.clone()),
        }
    }

    fn render(&self, chat: &Chat) -> Result<Vec<u32>, Error> {
        let tokenizer = self.tokenizer()?;
        if self.templates.names().next().is_none() {
            return Err(Error::Unsupported { param: "messages", by: "a model without a chat template".into() });
        }
        let tools = match &chat.tools {
            None | Some(Value::Null) => None,
            Some(Value::Array(tools)) => Some(tools.clone()),
            Some(_) => return Err(Error::invalid("tools", "another JSON value", "an array of tool definitions")),
        };
        let conversation = Conversation {
            tools,
            special: tokenizer.special_texts().to_vec(),
            vars: chat.vars.clone(),
            ..Conversation::new(chat.messages.clone())
        };
        let template = self.templates.choose(conversation.tools.is_some())?;
        Ok(tokenizer.encode_rendered(&template.render_for(&conversation, tokenizer)?)?)
    }

    /// One more than the largest token id.
    pub(crate) fn vocab(&self) -> usize {
        self.tokenizer.as_ref().map_or(0, Tokenizer::vocab_size)
    }

    pub(crate) fn ends_at(&self, id: u32) -> bool {
        self.end.contains(id)
    }

    /// What a token stands for; nothing for an id without a token.
    pub(crate) fn token_bytes(&self, id: u32) -> &[u8] {
        self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.token_bytes(id)).unwrap_or_default()
    }

    /// A decoder for the answer to `request`.
    pub(crate) fn decoder(&self, request: &Request) -> Decoder {
        // An answer in a conversation is a text of its own; what follows raw text or ids continues them.
        let at_start = matches!(request.prompt, Prompt::Chat(_));
        Decoder {
            detokenizer: self.tokenizer.as_ref().map(|tokenizer| tokenizer.detokenizer(at_start)),
            matcher: StopStrings::new(&request.stop),
            stops: request.stop.clone(),
        }
    }
}

/// The text of one answer, as its tokens come: whole characters, never a part of a stop string.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// None for a model without a tokenizer, whose answers have no text.
    detokenizer: Option<Detokenizer>,
    matcher: StopStrings,
    stops: Vec<String>,
}

impl Decoder {
    /// Takes a token; gives the text that is safe to show now, and the stop string it ended with. Control tokens are
    /// structure and have no text.
    pub(crate) fn push(&mut self, text: &Text, id: u32) -> (String, Option<String>) {
        let piece = match (&mut self.detokenizer, &text.tokenizer) {
            (Some(detokenizer), Some(tokenizer)) if !tokenizer.is_control(id) => detokenizer.push(text.token_bytes(id)),
            _ => return (String::new(), None),
        };
        let fed = self.matcher.feed(&piece);
        (fed.text, fed.stop.map(|stop| self.stops[stop].clone()))
    }

    /// The end: what was held back, and the stop string in it if there was one.
    pub(crate) fn finish(&mut self) -> (String, Option<String>) {
        let rest = self.detokenizer.as_mut().map(Detokenizer::finish).unwrap_or_default();
        let mut fed = self.matcher.feed(&rest);
        if fed.stop.is_none() {
            let last = self.matcher.finish();
            fed.text.push_str(&last.text);
            fed.stop = last.stop;
        }
        (fed.text, fed.stop.map(|stop| self.stops[stop].clone()))
    }
}
