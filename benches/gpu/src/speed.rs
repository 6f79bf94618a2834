//! Tokens a second of a file's model.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use plimsoll_cuda::{Cuda, Driver, KvType};
use plimsoll_engine::Opened;
use plimsoll_engine::bench::{Bench, Phase, Work};
use plimsoll_lock::Verified;
use serde_json::{Value, json};

use crate::timed::{Timed, Waited};

/// Tokens of a prompt in a step.
const CHUNK: usize = 2048;
/// Behind a first one.
const REPETITIONS: usize = 3;

/// What is measured, and how.
pub(crate) struct Task {
    work: Work,
    /// Prompts by cublasLt.
    fast: bool,
    kv: KvType,
}

impl Task {
    /// What words ask for: `fast` and `q8` (keys and values of 8 bits) or neither, then `prefill TOKENS` or `decode TOKENS DEPTH
    /// SEQUENCES`.
    pub(crate) fn new(words: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut task = Self { work: Work::prefill(1, 0), fast: false, kv: KvType::F16 };
        let mut rest = words;
        loop {
            match rest {
                ["fast", more @ ..] => (task.fast, rest) = (true, more),
                ["q8", more @ ..] => (task.kv, rest) = (KvType::Q8, more),
                _ => break,
            }
        }
        let numbers = rest.iter().skip(1).map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
        task.work = match (rest.first(), &numbers[..]) {
            (Some(&"prefill"), [tokens]) => Work::prefill(*tokens, 0),
            (Some(&"decode"), [tokens, depth, sequences]) => Work::decode(*tokens, *depth, *sequences),
            _ => {
                let expected = "expected [fast] [q8] (prefill TOKENS | decode TOKENS DEPTH SEQUENCES)";
                return Err(format!("{expected}, found {}", words.join(" ")).into());
            }
        };
        Ok(task)
    }
}

pub(crate) fn speed<D: Driver>(driver: D, file: &str, task: &Task) -> Result<Value, Box<dyn Error>> {
    let Task { work, fast, kv } = *task;
    let start = Instant::now();
    let opened = Opened::new(Verified::unlocked(Path::new(file))?)?;
    let waited = Waited::default();
    let backend = Cuda::new(Timed { driver, waited: waited.clone() }, kv)?;
    let backend = if fast { backend.with_fast_prefill()? } else { backend };
    let mut bench = Bench::load(&opened, backend, &[work], CHUNK, None, &|_, _| ())?;
    let load = start.elapsed().as_secs_f64();
    bench.run(&work)?;
    waited.take();
    let times = (0..REPETITIONS).map(|_| bench.run(&work)).collect::<Result<Vec<_>, _>>()?;
    let steps = if work.phase == Phase::Prefill { work.tokens.div_ceil(CHUNK) } else { work.tokens };
    let host = times.iter().sum::<Duration>().saturating_sub(waited.take()) / (REPETITIONS * steps) as u32;
    let mut rates: Vec<f64> = times.iter().map(|time| work.tok_s(*time)).collect();
    rates.sort_by(f64::total_cmp);
    Ok(json!({
        "stage": "speed",
        "model": Path::new(file).file_stem().map(|name| name.to_string_lossy()),
        "phase": if work.phase == Phase::Prefill { "prefill" } else { "decode" },
        "tokens": work.tokens,
        "depth": work.depth,
        "sequences": work.sequences,
        "cublaslt": fast,
        "kv_bits": if kv == KvType::F16 { 16 } else { 8 },
        "tok_s": rates[REPETITIONS / 2],
        "all": rates,
        "host_step_s": host.as_secs_f64(),
        "step_bytes": bench.step_bytes(),
        "load_s": load,
    }))
}
