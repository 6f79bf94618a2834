//! `plimsoll score`.

use plimsoll::text::Special;
use plimsoll::{Opened, Scores};
use serde_json::json;

use crate::args::{Global, ScoreArgs};
use crate::exit::{Exit, Failure, Result};
use crate::progress::Bytes;
use crate::project::open_model;
use crate::{input, output};

pub(crate) fn run(global: &Global, args: &ScoreArgs) -> Result<()> {
    if args.top > 0 && !global.json {
        return Err(Failure::new(Exit::Usage, "--top needs --json"));
    }
    let model = open_model(global, &args.model)?;
    let unlocked = model.is_unlocked();
    let opened = Opened::new(model)?;
    let (ids, bytes) = match &args.ids {
        Some(ids) => (ids.clone(), None),
        None => {
            let bytes = input::text(args.text.as_deref())?;
            (opened.text().tokenizer()?.encode_bytes(&bytes, Special::PROMPT)?, Some(bytes.len()))
        }
    };
    let bar = Bytes::new("loading");
    let scores = args.device.settings().score(&opened, &[ids], args.top, &|done, total| bar.set(done, total))?;
    drop(bar);
    let scores = scores.first().ok_or_else(|| Failure::new(Exit::Failure, "the model returned no scores"))?;
    let summary = Summary::new(scores, bytes);
    if global.json {
        return output::json(&json!({
            "ids": scores.ids,
            "logprobs": scores.logprobs,
            "top": scores.top,
            "log_likelihood": summary.log_likelihood,
            "perplexity": summary.perplexity,
            "bits_per_byte": summary.bits_per_byte,
            "bytes": bytes,
            "unlocked": unlocked,
        }));
    }
    summary.print()
}

/// The first token is predicted by nothing and counts in none of these.
struct Summary {
    tokens: usize,
    log_likelihood: f64,
    perplexity: Option<f64>,
    bits_per_byte: Option<f64>,
}

impl Summary {
    fn new(scores: &Scores, bytes: Option<usize>) -> Self {
        Self {
            tokens: scores.ids.len(),
            log_likelihood: scores.log_likelihood(),
            perplexity: scores.perplexity(),
            bits_per_byte: bytes.and_then(|bytes| scores.bits_per_byte(bytes)),
        }
    }

    fn print(&self) -> Result<()> {
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        output::line(&format!("tokens          {}", self.tokens))?;
        output::line(&format!("log-likelihood  {:.4}", self.log_likelihood))?;
        output::line(&format!("perplexity      {}", number(self.perplexity)))?;
        output::line(&format!("bits per byte   {}", number(self.bits_per_byte)))
    }
}
