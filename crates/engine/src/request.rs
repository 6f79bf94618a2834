//! What a caller asks for.

use serde_json::{Map, Value, json};

use crate::Speculation;

/// A prompt and how to continue it.
///
/// Built from [`chat`](Self::chat), [`prompt`](Self::prompt) or [`ids`](Self::ids); whatever is left unset is taken
/// from the model's generation defaults ([`Defaults`](crate::Defaults)). Ranges are checked when the request starts.
///
/// ```
/// use plimsoll_engine::Request;
/// let request = Request::chat().system("Answer briefly.").user("What is 12 + 7?").max_tokens(64).seed(7);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// What to continue.
    pub prompt: Prompt,
    /// New tokens at most; the engine's default when unset. The end of the context may come sooner.
    pub max_tokens: Option<usize>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the completion and are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the completion, besides the model's own.
    pub stop_tokens: Vec<u32>,
    /// Go on past the model's end-of-generation tokens.
    pub ignore_eos: bool,
    /// With each token its log-probability and those of this many most probable tokens.
    pub logprobs: Option<usize>,
    /// How tokens to come are guessed; none are when unset. Changes the time an answer takes, not the answer.
    pub speculation: Option<Speculation>,
    /// The first method of a conversation that was called on a raw prompt.
    pub(crate) misplaced: Option<&'static str>,
}

/// The three forms of a prompt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Prompt {
    /// A conversation, rendered by the model's chat template.
    Chat(Chat),
    /// Text to continue as it is; the tokenizer adds what it adds to raw text (often BOS).
    Text(String),
    /// Token ids, used as they are.
    Ids(Vec<u32>),
}

/// A conversation, in the shape chat templates read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Chat {
    /// Messages, each an object with `role` and usually `content`.
    pub messages: Vec<Value>,
    /// Tool definitions (an array of JSON Schema functions), if any.
    pub tools: Option<Value>,
    /// Further template variables, such as `enable_thinking`.
    pub vars: Map<String, Value>,
}

/// How tokens are chosen; unset fields take the model's defaults. The order of the steps is that of
/// [sampling](crate#sampling).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sampling {
    /// Divides the logits; 0 chooses the most probable token.
    pub temperature: Option<f32>,
    /// Only the `top_k` most probable tokens; 0 for all.
    pub top_k: Option<usize>,
    /// Only the most probable tokens that together reach this probability, in `(0, 1]`.
    pub top_p: Option<f32>,
    /// Only tokens at least `min_p` times as probable as the most probable one, in `[0, 1]`.
    pub min_p: Option<f32>,
    /// Divides positive and multiplies negative logits of tokens in the prompt or completion; above 0, 1 for none.
    pub repetition_penalty: Option<f32>,
    /// Subtracted once from logits of tokens in the completion.
    pub presence_penalty: Option<f32>,
    /// Subtracted from logits of tokens in the completion, once per occurrence.
    pub frequency_penalty: Option<f32>,
    /// Added to the logits of single tokens; negative infinity bans one.
    pub logit_bias: Vec<(u32, f32)>,
    /// Fixes the random draws; drawn by the engine and reported when unset.
    pub seed: Option<u64>,
}

impl Request {
    /// A conversation, to be filled by [`system`](Self::system), [`user`](Self::user) and the like.
    pub fn chat() -> Self {
        Self::new(Prompt::Chat(Chat::default()))
    }

    /// Raw text to continue, without a chat template.
    pub fn prompt(text: impl Into<String>) -> Self {
        Self::new(Prompt::Text(text.into()))
    }

    /// Token ids to continue.
    pub fn ids(ids: impl Into<Vec<u32>>) -> Self {
        Self::new(Prompt::Ids(ids.into()))
    }

    fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            max_tokens: None,
            sampling: Sampling::default(),
            stop: Vec::new(),
            stop_tokens: Vec::new(),
            ignore_eos: false,
            logprobs: None,
            speculation: None,
            misplaced: None,
        }
    }

    /// Appends a system message.
    pub fn system(self, content: impl Into<String>) -> Self {
        self.say("system", content.into())
    }

    /// Appends a user message.
    pub fn user(self, content: impl Into<String>) -> Self {
        self.say("user", content.into())
    }

    /// Appends an assistant message.
    pub fn assistant(self, content: impl Into<String>) -> Self {
        self.say("assistant", content.into())
    }

    fn say(self, role: &str, content: String) -> Self {
        self.message(json!({ "role": role, "content": content }))
    }

    /// Appends a message of any shape the template understands (tool calls, tool results, parts).
    pub fn message(self, message: Value) -> Self {
        self.chat_only("message", |chat| chat.messages.push(message))
    }

    /// Sets the tool definitions, an array.
    pub fn tools(self, tools: Value) -> Self {
        self.chat_only("tools", |chat| chat.tools = Some(tools))
    }

    /// Sets a template variable, such as `enable_thinking`.
    pub fn template_var(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.chat_only("template_var", |chat| drop(chat.vars.insert(name.into(), value.into())))
    }

    /// A raw prompt has no messages: remembers the mistake, which [`validate`](Self::validate) reports.
    fn chat_only(mut self, param: &'static str, set: impl FnOnce(&mut Chat)) -> Self {
        match &mut self.prompt {
            Prompt::Chat(chat) => set(chat),
            Prompt::Text(_) | Prompt::Ids(_) => self.misplaced = self.misplaced.or(Some(param)),
        }
        self
    }

    /// New tokens at most.
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// See [`Sampling::temperature`].
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.sampling.temperature = Some(temperature);
        self
    }

    /// See [`Sampling::top_k`].
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.sampling.top_k = Some(top_k);
        self
    }

    /// See [`Sampling::top_p`].
    pub fn top_p(mut self, top_p: f32) -> Self {
        self.sampling.top_p = Some(top_p);
        self
    }

    /// See [`Sampling::min_p`].
    pub fn min_p(mut self, min_p: f32) -> Self {
        self.sampling.min_p = Some(min_p);
        self
    }

    /// See [`Sampling::repetition_penalty`].
    pub fn repetition_penalty(mut self, penalty: f32) -> Self {
        self.sampling.repetition_penalty = Some(penalty);
        self
    }

    /// See [`Sampling::presence_penalty`].
    pub fn presence_penalty(mut self, penalty: f32) -> Self {
        self.sampling.presence_penalty = Some(penalty);
        self
    }

    /// See [`Sampling::frequency_penalty`].
    pub fn frequency_penalty(mut self, penalty: f32) -> Self {
        self.sampling.frequency_penalty = Some(penalty);
        self
    }

    /// Adds `bias` to the logit of `token`.
    pub fn logit_bias(mut self, token: u32, bias: f32) -> Self {
        self.sampling.logit_bias.push((token, bias));
        self
    }

    /// Fixes the random draws.
    pub fn seed(mut self, seed: u64) -> Self {
        self.sampling.seed = Some(seed);
        self
    }

    /// Ends the completion before `text`.
    pub fn stop(mut self, text: impl Into<String>) -> Self {
        self.stop.push(text.into());
        self
    }

    /// Ends the completion at `token`.
    pub fn stop_token(mut self, token: u32) -> Self {
        self.stop_tokens.push(token);
        self
    }

    /// Goes on past the model's end-of-generation tokens.
    pub fn ignore_eos(mut self) -> Self {
        self.ignore_eos = true;
        self
    }

    /// Reports each token's log-probability and those of the `top` most probable tokens.
    pub fn logprobs(mut self, top: usize) -> Self {
        self.logprobs = Some(top);
        self
    }

    /// Guesses tokens to come, so that one step can compute several of them.
    pub fn speculation(mut self, speculation: Speculation) -> Self {
        self.speculation = Some(speculation);
        self
    }
}
