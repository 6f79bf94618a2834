//! Options of a request. What is left out is the model's default; ranges are checked by the engine, in one place.

use clap::Args;
use plimsoll::{Request, Speculation};

/// How an answer is chosen, and where it ends.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Sampling", allow_negative_numbers = true)]
pub(crate) struct SamplingArgs {
    /// Randomness; 0 takes the most probable token always
    #[arg(long, value_name = "T")]
    pub(crate) temperature: Option<f32>,
    /// Only the K most probable tokens; 0 is all
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Only the most probable tokens that together reach P
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f32>,
    /// Only tokens at least P times as probable as the most probable one
    #[arg(long, value_name = "P")]
    pub(crate) min_p: Option<f32>,
    /// Make tokens of prompt and answer less probable, by a factor; 1 is off
    #[arg(long, value_name = "F")]
    pub(crate) repetition_penalty: Option<f32>,
    /// Make tokens of the answer less probable, once
    #[arg(long, value_name = "F")]
    pub(crate) presence_penalty: Option<f32>,
    /// Make tokens of the answer less probable, each time
    #[arg(long, value_name = "F")]
    pub(crate) frequency_penalty: Option<f32>,
    /// Add B to the logit of a token; -inf bans it
    #[arg(long, value_name = "ID=B", value_parser = bias)]
    pub(crate) logit_bias: Vec<(u32, f32)>,
    /// Fix the random draws
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// End after N tokens
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
    /// End before this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    /// Go on past the model's end of an answer
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// With --json: each token's log-probability and the N most probable tokens
    #[arg(long, value_name = "N")]
    pub(crate) logprobs: Option<usize>,
    /// Guess tokens from what was read and said: the same answer, sooner where it repeats its prompt
    #[arg(long)]
    pub(crate) speculate: bool,
}

impl SamplingArgs {
    /// The request with what was given here.
    pub(crate) fn apply(&self, mut request: Request) -> Request {
        let sampling = &mut request.sampling;
        sampling.temperature = self.temperature;
        sampling.top_k = self.top_k;
        sampling.top_p = self.top_p;
        sampling.min_p = self.min_p;
        sampling.repetition_penalty = self.repetition_penalty;
        sampling.presence_penalty = self.presence_penalty;
        sampling.frequency_penalty = self.frequency_penalty;
        sampling.logit_bias = self.logit_bias.clone();
        sampling.seed = self.seed;
        request.max_tokens = self.max_tokens;
        request.stop = self.stop.clone();
        request.ignore_eos = self.ignore_eos;
        request.logprobs = self.logprobs;
        request.speculation = self.speculate.then_some(Speculation::PROMPT_LOOKUP);
        request
    }
}

/// `ID=B`.
fn bias(text: &str) -> Result<(u32, f32), String> {
    let (id, bias) = text.split_once('=').ok_or("expected ID=B")?;
    let id = id.parse().map_err(|error| format!("`{id}` is not a token id: {error}"))?;
    let bias = bias.parse().map_err(|error| format!("`{bias}` is not a number: {error}"))?;
    Ok((id, bias))
}
