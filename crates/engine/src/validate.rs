//! Ranges of request parameters.

use serde_json::Value;

use crate::{Chat, Error, Prompt, Request, Sampling, Speculation};

/// Stop strings a request may have.
pub const MAX_STOPS: usize = 64;
/// Most probable tokens a request may ask to see at each position.
pub const MAX_LOGPROBS: usize = 128;

/// A parameter that is one number: its name, its value, what is allowed, whether the value is.
type Rule = (&'static str, Option<f32>, &'static str, fn(f32) -> bool);

impl Request {
    /// Checks every parameter against its range, token ids against a vocabulary of `vocab`.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first parameter out of range, what was found and what is expected.
    pub fn validate(&self, vocab: usize) -> Result<(), Error> {
        if let Some(param) = self.misplaced {
            return Err(Error::invalid(param, "a raw prompt", "Request::chat()"));
        }
        self.prompt.validate(vocab)?;
        self.sampling.validate(vocab)?;
        if self.max_tokens == Some(0) {
            return Err(Error::invalid("max_tokens", 0, "at least 1"));
        }
        if self.stop.len() > MAX_STOPS {
            return Err(Error::invalid("stop", format!("{} strings", self.stop.len()), format!("at most {MAX_STOPS}")));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(Error::invalid("stop", "an empty string", "at least one character"));
        }
        for &token in &self.stop_tokens {
            in_vocabulary("stop_token", token, vocab)?;
        }
        if let Some(top) = self.logprobs.filter(|&top| top > MAX_LOGPROBS) {
            return Err(Error::invalid("logprobs", top, format!("at most {MAX_LOGPROBS}")));
        }
        self.speculation.map_or(Ok(()), Speculation::validate)
    }
}

impl Prompt {
    fn validate(&self, vocab: usize) -> Result<(), Error> {
        match self {
            Self::Chat(chat) => chat.validate(),
            Self::Text(text) if text.is_empty() => Err(Error::invalid("prompt", "no text", "at least one token")),
            Self::Text(_) => Ok(()),
            Self::Ids(ids) if ids.is_empty() => Err(Error::invalid("prompt", "no ids", "at least one token")),
            Self::Ids(ids) => ids.iter().try_for_each(|&token| in_vocabulary("prompt", token, vocab)),
        }
    }
}

impl Chat {
    fn validate(&self) -> Result<(), Error> {
        if self.messages.is_empty() {
            return Err(Error::invalid("messages", "none", "at least one"));
        }
        for (index, message) in self.messages.iter().enumerate() {
            if !message.get("role").is_some_and(Value::is_string) {
                return Err(Error::invalid(
                    "messages",
                    format!("message {index} without a role"),
                    "an object with a string `role`",
                ));
            }
        }
        match &self.tools {
            Some(tools) if !tools.is_array() => Err(Error::invalid("tools", kind(tools), "an array")),
            _ => Ok(()),
        }
    }
}

impl Sampling {
    pub(crate) fn validate(&self, vocab: usize) -> Result<(), Error> {
        let rules: [Rule; 6] = [
            ("temperature", self.temperature, "a finite number, at least 0", |x| x.is_finite() && x >= 0.0),
            ("top_p", self.top_p, "above 0 and at most 1", |x| x > 0.0 && x <= 1.0),
            ("min_p", self.min_p, "0 to 1", |x| (0.0..=1.0).contains(&x)),
            ("repetition_penalty", self.repetition_penalty, "a finite number above 0", |x| x.is_finite() && x > 0.0),
            ("presence_penalty", self.presence_penalty, "a finite number", f32::is_finite),
            ("frequency_penalty", self.frequency_penalty, "a finite number", f32::is_finite),
        ];
        for (param, value, expected, allowed) in rules {
            if let Some(value) = value.filter(|&value| !allowed(value)) {
                return Err(Error::invalid(param, value, expected));
            }
        }
        for &(token, bias) in &self.logit_bias {
            in_vocabulary("logit_bias", token, vocab)?;
            if bias.is_nan() || bias == f32::INFINITY {
                return Err(Error::invalid("logit_bias", bias, "a finite number or negative infinity"));
            }
        }
        Ok(())
    }
}

fn in_vocabulary(param: &'static str, token: u32, vocab: usize) -> Result<(), Error> {
    if (token as usize) < vocab {
        return Ok(());
    }
    Err(Error::invalid(param, format!("token id {token}"), format!("below the vocabulary of {vocab}")))
}

/// The JSON type of a value, for messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VOCAB: usize = 100;

    #[test]
    fn refuses_what_is_out_of_range() {
        let r = || Request::ids([1, 2]);
        let guess = |draft, ngram| r().speculation(Speculation::PromptLookup { draft, ngram });
        let cases: Vec<(Request, &str)> = vec![
            (Request::ids([]), "prompt: found no ids, expected at least one token"),
            (Request::prompt(""), "prompt: found no text, expected at least one token"),
            (Request::ids([1, 100]), "prompt: found token id 100, expected below the vocabulary of 100"),
            (Request::chat(), "messages: found none, expected at least one"),
            (
                Request::chat().message(json!({ "content": "hi" })),
                "messages: found message 0 without a role, expected an object with a string `role`",
            ),
            (Request::chat().user("hi").tools(json!({})), "tools: found an object, expected an array"),
            (Request::prompt("hi").user("hi"), "message: found a raw prompt, expected Request::chat()"),
            (r().max_tokens(0), "max_tokens: found 0, expected at least 1"),
            (r().temperature(f32::NAN), "temperature: found NaN, expected a finite number, at least 0"),
            (r().temperature(-0.5), "temperature: found -0.5, expected a finite number, at least 0"),
            (r().temperature(f32::INFINITY), "temperature: found inf, expected a finite number, at least 0"),
            (r().top_p(0.0), "top_p: found 0, expected above 0 and at most 1"),
            (r().top_p(1.1), "top_p: found 1.1, expected above 0 and at most 1"),
            (r().top_p(f32::NAN), "top_p: found NaN, expected above 0 and at most 1"),
            (r().min_p(-0.1), "min_p: found -0.1, expected 0 to 1"),
            (r().min_p(1.5), "min_p: found 1.5, expected 0 to 1"),
            (r().repetition_penalty(0.0), "repetition_penalty: found 0, expected a finite number above 0"),
            (r().presence_penalty(f32::NAN), "presence_penalty: found NaN, expected a finite number"),
            (r().frequency_penalty(f32::INFINITY), "frequency_penalty: found inf, expected a finite number"),
            (r().logit_bias(3, f32::NAN), "logit_bias: found NaN, expected a finite number or negative infinity"),
            (r().logit_bias(3, f32::INFINITY), "logit_bias: found inf, expected a finite number or negative infinity"),
            (r().logit_bias(100, 1.0), "logit_bias: found token id 100, expected below the vocabulary of 100"),
            (r().stop(""), "stop: found an empty string, expected at least one character"),
            ((0..65).fold(r(), |r, i| r.stop(i.to_string())), "stop: found 65 strings, expected at most 64"),
            (
                r().stop_token(4_000_000_000),
                "stop_token: found token id 4000000000, expected below the vocabulary of 100",
            ),
            (r().logprobs(129), "logprobs: found 129, expected at most 128"),
            (guess(0, 2), "draft: found 0, expected 1 to 32"),
            (guess(33, 2), "draft: found 33, expected 1 to 32"),
            (guess(3, 0), "ngram: found 0, expected 1 to 8"),
            (guess(3, 9), "ngram: found 9, expected 1 to 8"),
        ];
        for (request, message) in cases {
            assert_eq!(request.validate(VOCAB).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn accepts_the_ends_of_every_range() {
        let request = Request::chat()
            .system("s")
            .user("u")
            .assistant("a")
            .message(json!({ "role": "tool", "content": "42" }))
            .tools(json!([]))
            .template_var("enable_thinking", false)
            .max_tokens(1)
            .temperature(0.0)
            .top_k(0)
            .top_p(1.0)
            .min_p(1.0)
            .repetition_penalty(0.1)
            .presence_penalty(-2.0)
            .frequency_penalty(2.0)
            .logit_bias(99, f32::NEG_INFINITY)
            .seed(u64::MAX)
            .stop("x")
            .stop_token(99)
            .ignore_eos()
            .logprobs(128)
            .speculation(Speculation::PromptLookup { draft: 32, ngram: 8 });
        request.validate(VOCAB).unwrap();
    }
}
