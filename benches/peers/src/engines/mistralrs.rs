//! mistral.rs, whose model is not reachable below its scheduler: answers are timed by its own usage report, prompts from the
//! request to its one token.

use std::time::{Duration, Instant};

use mistralrs::{
    GgufModelBuilder, Model, NormalRequest, Request, RequestMessage, Response, ResponseOk, SamplingParams, Usage,
};
use plimsoll::bench::{Phase, Work};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, channel};

use super::{Engine, Linked, Result, token};
use crate::job::Job;

pub(super) const LINKED: Linked = Linked { name: "mistralrs", settings: &[""], open };

struct Mistral {
    runtime: Runtime,
    model: Model,
}

fn open(job: &Job) -> Result<Box<dyn Engine>> {
    let name = job.file.file_name().ok_or("no file name")?.to_string_lossy().into_owned();
    let folder = job.file.parent().ok_or("no folder")?.to_string_lossy().into_owned();
    let builder = GgufModelBuilder::new(folder, vec![name]).with_force_cpu().with_prefix_cache_n(None);
    let runtime = Runtime::new()?;
    let model = runtime.block_on(builder.build())?;
    Ok(Box::new(Mistral { runtime, model }))
}

/// Asks for at most `tokens` after a prompt.
async fn ask(model: &Model, sequence: usize, prompt: usize, tokens: usize) -> Result<Receiver<Response>> {
    let ids = (0..prompt).map(|position| token(sequence, position)).collect();
    let mut sampling = SamplingParams::deterministic();
    sampling.max_len = Some(tokens);
    let (sender, receiver) = channel(1);
    let messages = RequestMessage::CompletionTokens(ids);
    let request = NormalRequest::new_simple(messages, sampling, sender, sequence, None, None);
    model.inner().get_sender(None)?.send(Request::Normal(Box::new(request))).await?;
    Ok(receiver)
}

async fn usage(mut receiver: Receiver<Response>) -> Result<Usage> {
    match receiver.recv().await.ok_or("no answer")?.as_result() {
        Ok(ResponseOk::CompletionDone(done)) => Ok(done.usage),
        Ok(_) => Err("an answer of another kind".into()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// From the first token to the last, for one step.
fn step(usage: &Usage) -> Result<f32> {
    match usage.completion_tokens {
        0 | 1 => Err("the model ended its answer at once".into()),
        tokens => Ok(usage.total_completion_time_sec / (tokens - 1) as f32),
    }
}

impl Mistral {
    async fn prefill(&self, tokens: usize) -> Result<Duration> {
        let start = Instant::now();
        usage(ask(&self.model, 0, tokens, 1).await?).await?;
        Ok(start.elapsed())
    }

    async fn decode(&self, tokens: usize, depth: usize, sequences: usize) -> Result<Duration> {
        let mut asked = Vec::new();
        for sequence in 0..sequences {
            asked.push(ask(&self.model, sequence, depth.max(1), tokens + 1).await?);
        }
        let mut slowest = 0f32;
        for receiver in asked {
            slowest = slowest.max(step(&usage(receiver).await?)?);
        }
        Ok(Duration::from_secs_f32(slowest * tokens as f32))
    }
}

impl Engine for Mistral {
    fn run(&mut self, work: &Work) -> Result<Duration> {
        let Work { phase, tokens, depth, sequences } = *work;
        match phase {
            Phase::Prefill if depth > 0 => Err("prompts are read from their beginning".into()),
            Phase::Prefill => self.runtime.block_on(self.prefill(tokens)),
            Phase::Decode => self.runtime.block_on(self.decode(tokens, depth, sequences)),
        }
    }
}
