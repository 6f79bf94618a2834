//! Tokens a second of a file's model.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use plimsoll_cuda::{Cuda, Driver, KvType};
use plimsoll_engine::Opened;
use plimsoll_engine::bench::{Bench, Phase, Work};
use plimsoll_lock::Verified;
use serde_json::{Value, json};

/// Tokens of a prompt in a step.
const CHUNK: usize = 2048;
/// Behind a first one.
const REPETITIONS: usize = 3;

/// What `words` ask for: `prefill TOKENS` or `decode TOKENS DEPTH SEQUENCES`.
pub(crate) fn work(words: &[&str]) -> Result<Work, Box<dyn Error>> {
    let numbers = words[1..].iter().map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
    match (words[0], &numbers[..]) {
        ("prefill", [tokens]) => Ok(Work::prefill(*tokens, 0)),
        ("decode", [tokens, depth, sequences]) => Ok(Work::decode(*tokens, *depth, *sequences)),
        _ => Err(format!("expected prefill TOKENS or decode TOKENS DEPTH SEQUENCES, found {}", words.join(" ")).into()),
    }
}

pub(crate) fn speed<D: Driver>(driver: D, file: &str, work: Work) -> Result<Value, Box<dyn Error>> {
    let start = Instant::now();
    let opened = Opened::new(Verified::unlocked(Path::new(file))?)?;
    let backend = Cuda::new(driver, KvType::F16)?;
    let mut bench = Bench::load(&opened, backend, &[work], CHUNK, None, &|_, _| ())?;
    let load = start.elapsed().as_secs_f64();
    bench.run(&work)?;
    let times = (0..REPETITIONS).map(|_| bench.run(&work)).collect::<Result<Vec<_>, _>>()?;
    let mut rates: Vec<f64> = times.iter().map(|time| work.tok_s(*time)).collect();
    rates.sort_by(f64::total_cmp);
    Ok(json!({
        "stage": "speed",
        "model": Path::new(file).file_stem().map(|name| name.to_string_lossy()),
        "phase": if work.phase == Phase::Prefill { "prefill" } else { "decode" },
        "tokens": work.tokens,
        "depth": work.depth,
        "sequences": work.sequences,
        "tok_s": rates[REPETITIONS / 2],
        "all": rates,
        "step_bytes": bench.step_bytes(),
        "load_s": load,
    }))
}
