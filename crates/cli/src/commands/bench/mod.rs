//! `plimsoll bench`.

mod args;
mod report;
mod speculation;

use std::time::Instant;

use plimsoll::bench::{Bench, ReadProbe, Work};
use plimsoll::{CpuOptions, Opened, Settings};

pub(crate) use args::BenchArgs;

use crate::args::Global;
use crate::exit::{Failure, Result};
use crate::machine::{Machine, peak_rss};
use crate::output;
use crate::progress::Bytes;
use crate::project::open_model;
use report::{Report, Row};

pub(crate) fn run(global: &Global, args: &BenchArgs) -> Result<()> {
    if args.speculate {
        return speculation::run(global, args);
    }
    let verified = open_model(global, &args.model)?;
    let file_bytes = verified.files().iter().map(|file| file.size).sum();
    let (machine, works) = (Machine::look(), args.works());
    let settings = settings(args, &machine);
    let start = Instant::now();
    let bar = Bytes::new("loading");
    let mut bench = settings.bench(&Opened::new(verified)?, &works, &|done, total| bar.set(done, total))?;
    drop(bar);
    let load_s = start.elapsed().as_secs_f64();
    for work in &works {
        bench.run(work)?;
    }
    // Before the probe allocates; what is timed has all been done once and takes no more from here on.
    let peak_rss = peak_rss();
    let cpu = settings.device.cpu(&settings);
    // Another memory's bandwidth says nothing.
    let read = !args.no_bandwidth && settings.device.on_processor();
    let readers = read.then(|| cpu.map_or(machine.cores, CpuOptions::threads));
    let probe = readers.map(|threads| ReadProbe::new(threads, ReadProbe::BYTES).map_err(memory)).transpose()?;
    let probe = probe.map(|probe| probe.on(&settings.cpu.cores));
    let rows = measure(&mut bench, &works, args.reps, probe.as_ref())?;
    let (device, _) = settings.device.pick();
    let report = Report { bench: &bench, file_bytes, load_s, peak_rss, device, cpu, readers, rows };
    if global.json {
        return report.json().iter().try_for_each(output::json);
    }
    output::bytes(report.text().as_bytes())
}

/// The cache may take what memory there is.
fn settings(args: &BenchArgs, machine: &Machine) -> Settings {
    let mut settings = args.device.settings();
    let mut options = settings.options();
    let on_cpu = settings.device.cpu(&settings).is_some();
    options.prefill_chunk = args.chunk.unwrap_or(if on_cpu { 512 } else { options.prefill_chunk });
    settings.options = Some(options);
    settings.kv_bytes = machine.memory.as_ref().map(|memory| memory.available);
    settings
}

/// In turns, so that what else the machine does falls on all rows alike.
fn measure(bench: &mut Bench, works: &[Work], reps: usize, probe: Option<&ReadProbe>) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = works.iter().map(|work| Row::new(*work)).collect();
    for _ in 0..reps {
        for row in &mut rows {
            row.tok_s.push(row.work.tok_s(bench.run(&row.work)?));
            if let Some(probe) = probe {
                row.read.push(probe.measure().map_err(memory)?);
            }
        }
    }
    Ok(rows)
}

fn memory(error: std::io::Error) -> Failure {
    Failure::io("reading memory")(error).help("--no-bandwidth goes without")
}
