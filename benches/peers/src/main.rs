//! Plimsoll and its peers on the same file in the same run: a table of ratios.
//!
//! Every measurement is a process of its own: memory and threads of one engine do not disturb the next. The engines take
//! turns within each repetition, so that what the machine does meanwhile meets them all; ratios are taken within a
//! repetition.

mod contest;
mod engines;
mod job;
mod report;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::Parser;

use contest::{Busy, Contestant};
use job::{Answer, Job, Row};
use report::Report;

/// Measures Plimsoll and its peers on GGUF files, interleaved, each peer with its best setting.
#[derive(Debug, Parser)]
struct Args {
    /// GGUF files.
    #[arg(required_unless_present_any = ["job", "spin"])]
    files: Vec<PathBuf>,
    /// What is measured: prefill (pp512), decode (tg64), after a context (tg64@4096), of sequences together (tg64x4).
    #[arg(long, value_delimiter = ',', default_value = "pp512,tg64,tg64x4")]
    rows: Vec<Row>,
    /// Threads of each engine; by default one a processor.
    #[arg(long)]
    threads: Option<usize>,
    /// Measurements of each engine and row.
    #[arg(long, default_value_t = 5)]
    reps: usize,
    /// Only these of the peers that are linked in.
    #[arg(long, value_delimiter = ',')]
    engines: Option<Vec<String>>,
    /// A program that takes a job and answers as the children of this one do, and its settings.
    #[arg(long, value_name = "NAME=PROGRAM[:SETTING,...]")]
    peer: Vec<Contestant>,
    /// Processes that do nothing but take processor time beside every measurement.
    #[arg(long, default_value_t = 0)]
    busy: usize,
    /// Where the figures go as JSON.
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    #[arg(long, hide = true)]
    job: Option<String>,
    #[arg(long, hide = true)]
    spin: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    if args.spin {
        loop {
            std::hint::spin_loop();
        }
    }
    if let Some(job) = &args.job {
        let answer = answer(&serde_json::from_str(job)?);
        println!("{}", serde_json::to_string(&answer)?);
        return Ok(());
    }
    let threads = args.threads.map_or_else(|| available_parallelism().map(usize::from), Ok)?;
    let contestants = contest::contestants(args.engines.as_deref(), args.peer)?;
    let _busy = Busy::start(args.busy)?;
    let mut report = Report::new(threads, args.reps, args.busy);
    for file in &args.files {
        let file = &fs::canonicalize(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let outcomes = args.rows.iter().map(|row| contest::hold(&contestants, file, *row, threads, args.reps));
        let outcomes = outcomes.collect::<Result<Vec<_>, _>>()?;
        println!("{}", report::markdown(file, &outcomes));
        report.outcomes.extend(outcomes);
    }
    if let Some(path) = args.json {
        fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

fn answer(job: &Job) -> Answer {
    match engines::measure(job) {
        Ok(speed) => Answer::Speed(speed),
        Err(error) => Answer::Error(error.to_string()),
    }
}
