//! One answer, shown as it comes.

use plimsoll::{Event, FinishReason, Finished, Generate, Request};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output;

/// How it ended.
pub(crate) enum Answer {
    /// With this text.
    Finished(String),
    /// By Ctrl-C.
    Interrupted,
}

/// Where events go: text as text, or one object a line.
pub(crate) struct Sink {
    json: bool,
    ids: Vec<u32>,
    text: String,
}

impl Sink {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, ids: Vec::new(), text: String::new() }
    }

    fn event(&mut self, model: &dyn Generate, event: &Event) -> Result<()> {
        match event {
            Event::Token(token) => self.ids.push(token.id),
            Event::Text(text) => self.text.push_str(text),
            _ => {}
        }
        match event {
            _ if self.json => to_json(event).map_or(Ok(()), |mut value| {
                if matches!(event, Event::Finished(_)) {
                    value["token_ids"] = json!(self.ids);
                    value["text"] = json!(self.text);
                    value["model"] = json!(model.info().name);
                    value["digest"] = json!(model.info().lock_digest);
                    value["unlocked"] = json!(model.info().unlocked);
                }
                output::json(&value)
            }),
            Event::Text(text) => output::bytes(text.as_bytes()),
            _ => Ok(()),
        }
    }

    /// The text, and on a terminal or in a file a last line end.
    fn end(&mut self) -> Result<String> {
        if !self.json && !self.text.ends_with('\n') {
            output::bytes(b"\n")?;
        }
        Ok(std::mem::take(&mut self.text))
    }
}

/// Asks, and shows the answer until it ends. Dropping the generation is what cancels it.
pub(crate) fn answer(model: &dyn Generate, request: Request, sink: &mut Sink, interrupt: &Interrupt) -> Result<Answer> {
    let mut finished = false;
    for event in model.start(request)?.blocking() {
        if interrupt.take() {
            sink.end()?;
            return Ok(Answer::Interrupted);
        }
        let event = event?;
        finished |= matches!(event, Event::Finished(_));
        sink.event(model, &event)?;
    }
    if !finished {
        return Err(Failure::new(Exit::Failure, "the answer ended without a reason"));
    }
    Ok(Answer::Finished(sink.end()?))
}

/// One line of `run --json`. Events that this build does not know are not shown.
fn to_json(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Prefill { done, total, cached } => {
            json!({ "event": "prefill", "done": done, "total": total, "cached": cached })
        }
        Event::Token(token) => {
            let top: Vec<_> = token.top.iter().map(|other| (other.id, other.logprob)).collect();
            let text = String::from_utf8_lossy(&token.bytes);
            json!({ "event": "token", "id": token.id, "text": text, "logprob": token.logprob, "top": top })
        }
        Event::Text(text) => json!({ "event": "text", "text": text }),
        Event::Finished(finished) => finished_to_json(finished),
        _ => return None,
    })
}

fn finished_to_json(finished: &Finished) -> Value {
    let (reason, stop) = match &finished.reason {
        FinishReason::Eos(id) => ("eos", json!(id)),
        FinishReason::StopToken(id) => ("stop_token", json!(id)),
        FinishReason::StopString(text) => ("stop_string", json!(text)),
        FinishReason::Length => ("length", Value::Null),
        _ => ("other", Value::Null),
    };
    let (usage, timings) = (&finished.usage, &finished.timings);
    json!({
        "event": "finished",
        "reason": reason,
        "stop": stop,
        "usage": {
            "prompt": usage.prompt,
            "cached": usage.cached,
            "completion": usage.completion,
            "drafted": usage.drafted,
            "accepted": usage.accepted,
        },
        "seconds": {
            "queued": timings.queued.as_secs_f64(),
            "prefill": timings.prefill.as_secs_f64(),
            "decode": timings.decode.as_secs_f64(),
        },
        "seed": finished.seed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll::{Timings, Token, Usage};

    #[test]
    fn every_event_is_one_object() {
        let finished = Finished {
            reason: FinishReason::StopString("END".into()),
            usage: Usage { prompt: 3, cached: 1, completion: 2, drafted: 3, accepted: 1 },
            timings: Timings::default(),
            seed: 7,
        };
        let token = Token { id: 5, bytes: b"x".to_vec(), logprob: Some(-0.5), top: Vec::new() };
        let cases = [
            (Event::Prefill { done: 1, total: 3, cached: 1 }, r#"{"event":"prefill","done":1,"total":3,"cached":1}"#),
            (Event::Token(token), r#"{"event":"token","id":5,"text":"x","logprob":-0.5,"top":[]}"#),
            (Event::Text("x".into()), r#"{"event":"text","text":"x"}"#),
            (
                Event::Finished(finished),
                r#"{"event":"finished","reason":"stop_string","stop":"END","usage":{"prompt":3,"cached":1,"completion":2,"drafted":3,"accepted":1},"seconds":{"queued":0.0,"prefill":0.0,"decode":0.0},"seed":7}"#,
            ),
        ];
        for (event, expected) in cases {
            assert_eq!(to_json(&event).unwrap().to_string(), expected);
        }
    }
}
