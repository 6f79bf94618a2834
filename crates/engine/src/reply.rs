//! From the tokens of one sequence to the events its reader sees.

use std::{sync::Arc, time::Instant};

use crate::{
    Alternative, Error, Event, Events, FinishReason, Finished, Request, Timings, Token, Usage,
    sampler::Choice,
    scheduler::Sink,
    text::{Decoder, Text},
    thread::{Status, Ticket},
};

/// Turns what the scheduler tells into events: text, stop conditions, usage and timings.
#[derive(Debug)]
pub(crate) struct Reply {
    events: Events,
    text: Arc<Text>,
    decoder: Decoder,
    stop_tokens: Vec<u32>,
    ignore_eos: bool,
    seed: u64,
    usage: Usage,
    clock: Clock,
    status: Arc<Status>,
    /// Until admission.
    ticket: Option<Ticket>,
    /// The last event has been sent.
    ended: bool,
}

/// When things happened.
#[derive(Debug)]
struct Clock {
    started: Instant,
    admitted: Option<Instant>,
    first: Option<Instant>,
}

impl Clock {
    fn read(&self) -> Timings {
        let now = Instant::now();
        let admitted = self.admitted.unwrap_or(now);
        let first = self.first.unwrap_or(now);
        Timings { queued: admitted - self.started, prefill: first - admitted, decode: now - first }
    }
}

impl Reply {
    pub(crate) fn new(request: &Request, seed: u64, text: Arc<Text>, events: Events, ticket: Ticket) -> Self {
        Self {
            events,
            decoder: text.decoder(request),
            text,
            stop_tokens: request.stop_tokens.clone(),
            ignore_eos: request.ignore_eos,
            seed,
            usage: Usage::default(),
            clock: Clock { started: Instant::now(), admitted: None, first: None },
            status: ticket.status().clone(),
            ticket: Some(ticket),
            ended: false,
        }
    }

    fn event(&self, choice: Choice) -> Event {
        let bytes = |id| self.text.token_bytes(id).to_vec();
        let alternative = |(id, logprob)| Alternative { id, bytes: bytes(id), logprob };
        Event::Token(Token {
            id: choice.id,
            bytes: bytes(choice.id),
            logprob: choice.logprob,
            top: choice.top.into_iter().map(alternative).collect(),
        })
    }

    /// The stop condition that a token meets by itself.
    fn ends_at(&self, id: u32) -> Option<FinishReason> {
        if self.stop_tokens.contains(&id) {
            Some(FinishReason::StopToken(id))
        } else if !self.ignore_eos && self.text.ends_at(id) {
            Some(FinishReason::Eos(id))
        } else {
            None
        }
    }

    fn say(&self, text: String) {
        if !text.is_empty() {
            self.events.send(Ok(Event::Text(text)));
        }
    }

    fn finish(&mut self, reason: FinishReason) {
        self.ended = true;
        let finished = Finished { reason, usage: self.usage, timings: self.clock.read(), seed: self.seed };
        self.events.send(Ok(Event::Finished(finished)));
    }
}

impl Sink for Reply {
    fn cancelled(&self) -> bool {
        self.events.cancelled()
    }

    fn prefill(&mut self, done: usize, total: usize, cached: usize) {
        self.ticket = None;
        self.clock.admitted.get_or_insert_with(Instant::now);
        self.usage.prompt = total;
        self.usage.cached = cached;
        self.events.send(Ok(Event::Prefill { done, total, cached }));
    }

    fn token(&mut self, choice: Choice, last: bool) -> bool {
        let id = choice.id;
        self.clock.first.get_or_insert_with(Instant::now);
        self.usage.completion += 1;
        self.events.send(Ok(self.event(choice)));

        let mut end = self.ends_at(id);
        if end.is_none() {
            let (text, stop) = self.decoder.push(&self.text, id);
            self.say(text);
            if let Some(stop) = stop {
                self.finish(FinishReason::StopString(stop));
                return false;
            }
            end = last.then_some(FinishReason::Length);
        }
        let Some(end) = end else { return true };
        let (text, stop) = self.decoder.finish();
        self.say(text);
        self.finish(stop.map_or(end, FinishReason::StopString));
        false
    }

    fn drafted(&mut self, tokens: usize) {
        self.usage.drafted += tokens;
    }

    fn accepted(&mut self) {
        self.usage.accepted += 1;
    }

    fn fail(&mut self, error: Error) {
        self.ended = true;
        self.events.send(Err(error));
    }
}

impl Drop for Reply {
    /// Dropped in the middle: the engine went away.
    fn drop(&mut self) {
        if !self.ended {
            self.events.send(Err(self.status.ended()));
        }
    }
}
