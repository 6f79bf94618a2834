//! `plimsoll bench --speculate`: what guessing costs where there is nothing to guess.

use plimsoll::bench::Spread;
use plimsoll::{Event, Finished, Generate, Opened, Request, Speculation, Usage};
use serde_json::{Value, json};

use super::BenchArgs;
use crate::args::Global;
use crate::exit::{Exit, Failure, Result};
use crate::output;
use crate::progress::Bytes;
use crate::project::open_model;

/// Ids that a text of false repeats is drawn from: few enough for every pair to come again soon.
const FEW: u32 = 8;

/// Makes any model write a text of some kind.
type Style = fn(Request) -> Request;

/// Texts that are not worth guessing.
const TEXTS: [(&str, Style); 2] = [
    // No token occurs twice.
    ("no-repeats", |request| request.temperature(0.0).presence_penalty(1e6)),
    // All are drawn evenly, so that what followed before follows again one time in eight.
    ("false-repeats", |request| {
        (0..FEW).fold(request.temperature(1e3).top_k(FEW as usize), |request, id| request.logit_bias(id, 1e6))
    }),
];

/// A text of some length after some others, written without and with guesses in turns.
struct Row {
    text: &'static str,
    request: Request,
    tokens: usize,
    depth: usize,
    /// Tokens per second without and with.
    tok_s: [Vec<f64>; 2],
    /// With.
    usage: Usage,
}

pub(super) fn run(global: &Global, args: &BenchArgs) -> Result<()> {
    if let Some(tokens) = args.decode.iter().find(|tokens| **tokens < 2) {
        return Err(Failure::new(Exit::Request, format!("tokens: found {tokens}, expected at least 2")));
    }
    let opened = Opened::new(open_model(global, &args.model)?)?;
    let bar = Bytes::new("loading");
    let model = args.device.settings().start_reporting(opened, &|done, total| bar.set(done, total))?;
    drop(bar);
    let mut rows = rows(args, model.info().vocab);
    for rep in 0..=args.reps {
        // The first round fills caches and does not count; who is first changes each round.
        for row in &mut rows {
            for guessing in [rep % 2 == 0, rep % 2 != 0] {
                let tok_s = row.write(&*model, guessing, rep as u64)?;
                row.tok_s[usize::from(guessing)].extend((rep > 0).then_some(tok_s));
            }
        }
    }
    let ratios: Vec<f64> = rows.iter().filter_map(|row| Some(row.ratio()?.median)).collect();
    let least = ratios.into_iter().min_by(f64::total_cmp);
    if global.json {
        rows.iter().try_for_each(|row| output::json(&row.json()))?;
        let info = model.info();
        let (name, unlocked) = (&info.name, info.unlocked);
        return output::json(&json!({ "event": "finished", "ratio": least, "model": name, "unlocked": unlocked }));
    }
    output::line("text            tokens   depth tok/s off  tok/s on     ratio       min       max drafted accepted")?;
    rows.iter().try_for_each(|row| output::line(&row.to_text()))
}

fn rows(args: &BenchArgs, vocab: usize) -> Vec<Row> {
    let sizes = args.decode.iter().flat_map(|tokens| args.depth.iter().map(move |depth| (*tokens, *depth)));
    let row = |(text, style): (&'static str, Style), (tokens, depth): (usize, usize)| {
        // Steps of a large prime scatter the ids of a prompt, and repeat none before all have been.
        let ids = (1..=depth.max(1) as u64).map(|i| (i * 2_654_435_761 % vocab.max(1) as u64) as u32);
        let request = style(Request::ids(ids.collect::<Vec<_>>())).max_tokens(tokens).ignore_eos();
        Row { text, request, tokens, depth, tok_s: [vec![], vec![]], usage: Usage::default() }
    };
    TEXTS.into_iter().flat_map(|text| sizes.clone().map(move |size| row(text, size))).collect()
}

impl Row {
    /// Has it written once; tokens per second from the first to the last.
    fn write(&mut self, model: &dyn Generate, guessing: bool, seed: u64) -> Result<f64> {
        let mut request = self.request.clone().seed(seed);
        request.speculation = guessing.then_some(Speculation::PROMPT_LOOKUP);
        for event in model.start(request)?.blocking() {
            if let Event::Finished(Finished { usage, timings, .. }) = event? {
                if guessing {
                    self.usage = usage;
                }
                return Ok(usage.completion.saturating_sub(1) as f64 / timings.decode.as_secs_f64());
            }
        }
        Err(Failure::new(Exit::Failure, "the answer ended without a reason"))
    }

    /// Speed with guesses over that without, of each pair.
    fn ratio(&self) -> Option<Spread> {
        let [off, on] = &self.tok_s;
        Spread::of(&on.iter().zip(off).map(|(on, off)| on / off).collect::<Vec<_>>())
    }

    fn medians(&self) -> [Option<f64>; 2] {
        self.tok_s.each_ref().map(|tok_s| Spread::of(tok_s).map(|spread| spread.median))
    }

    fn json(&self) -> Value {
        let ([off, on], ratio) = (self.medians(), self.ratio());
        json!({
            "event": "measured",
            "text": self.text,
            "tokens": self.tokens,
            "depth": self.depth,
            "off_tok_s": off,
            "on_tok_s": on,
            "ratio": ratio.map(|ratio| ratio.median),
            "ratio_min": ratio.map(|ratio| ratio.min),
            "ratio_max": ratio.map(|ratio| ratio.max),
            "drafted": self.usage.drafted,
            "accepted": self.usage.accepted,
        })
    }

    fn to_text(&self) -> String {
        let (Self { text, tokens, depth, usage, .. }, [Some(off), Some(on)], Some(ratio)) =
            (self, self.medians(), self.ratio())
        else {
            return String::new();
        };
        let Spread { median, min, max } = ratio;
        let (drafted, accepted) = (usage.drafted, usage.accepted);
        format!(
            "{text:<13} {tokens:>8} {depth:>7} {off:>9.2} {on:>9.2} {median:>9.3} {min:>9.3} {max:>9.3} {drafted:>7} {accepted:>8}"
        )
    }
}
