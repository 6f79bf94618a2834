//! What `plimsoll bench` prints.

use std::fmt::Write;

use plimsoll::bench::{Bench, Phase, Spread, Work};
use plimsoll::{CpuOptions, Device};
use serde_json::{Value, json};

use crate::output;

/// All of a run.
pub(super) struct Report<'a> {
    pub(super) bench: &'a Bench,
    pub(super) file_bytes: u64,
    pub(super) load_s: f64,
    /// In bytes.
    pub(super) peak_rss: Option<u64>,
    pub(super) device: Device,
    /// None where the backend decides for itself.
    pub(super) cpu: Option<&'a CpuOptions>,
    /// Threads that read memory; none where it was not read.
    pub(super) readers: Option<usize>,
    pub(super) rows: Vec<Row>,
}

/// The repetitions of one piece of work.
pub(super) struct Row {
    pub(super) work: Work,
    pub(super) tok_s: Vec<f64>,
    /// The memory's bytes per second after each.
    pub(super) read: Vec<f64>,
}

impl Row {
    pub(super) fn new(work: Work) -> Self {
        Self { work, tok_s: Vec::new(), read: Vec::new() }
    }

    fn tok_s(&self) -> Option<Spread> {
        Spread::of(&self.tok_s)
    }

    /// Of the bandwidth, by decode steps that each read `step_bytes`.
    fn share(&self, step_bytes: u64) -> Option<f64> {
        let steps_s = self.tok_s()?.median / self.work.sequences as f64;
        let share = step_bytes as f64 * steps_s / Spread::of(&self.read)?.median;
        (self.work.phase == Phase::Decode).then_some(share)
    }

    fn json(&self, step_bytes: u64) -> Value {
        let Work { phase, tokens, depth, sequences } = self.work;
        let spread = self.tok_s();
        json!({
            "event": "measured",
            "phase": name(phase),
            "tokens": tokens,
            "depth": depth,
            "sequences": sequences,
            "tok_s": spread.map(|spread| spread.median),
            "tok_s_min": spread.map(|spread| spread.min),
            "tok_s_max": spread.map(|spread| spread.max),
            "tok_s_all": self.tok_s,
            "read_gb_s": Spread::of(&self.read).map(|read| read.median / 1e9),
            "bandwidth_share": self.share(step_bytes),
        })
    }

    fn text(&self, step_bytes: u64) -> String {
        let Work { phase, tokens, depth, sequences } = self.work;
        let Some(Spread { median, min, max }) = self.tok_s() else { return String::new() };
        let share = self.share(step_bytes).map_or("-".into(), |share| format!("{:.0} %", share * 100.0));
        let name = name(phase);
        format!("{name:<7} {tokens:>7} {depth:>7} {sequences:>9} {median:>9.2} {min:>9.2} {max:>9.2} {share:>9}\n")
    }
}

impl Report<'_> {
    /// One object a row, and one of the whole.
    pub(super) fn json(&self) -> Vec<Value> {
        let step_bytes = self.bench.step_bytes();
        let first = |phase| self.rows.iter().find(|row| row.work.phase == phase);
        let median = |phase| first(phase).and_then(Row::tok_s).map(|spread| spread.median);
        let info = self.bench.info();
        let finished = json!({
            "event": "finished",
            "prefill_tok_s": median(Phase::Prefill),
            "decode_tok_s": median(Phase::Decode),
            "read_gb_s": self.read().map(|read| read.median / 1e9),
            "decode_bandwidth_share": first(Phase::Decode).and_then(|row| row.share(step_bytes)),
            "peak_rss_bytes": self.peak_rss,
            "load_s": self.load_s,
            "threads": self.cpu.map(CpuOptions::threads),
            "cores": self.cpu.map(|cpu| &cpu.cores),
            "tier": self.cpu.map(|cpu| cpu.tier().name()),
            "kv": self.cpu.map(|cpu| cpu.kv.name()),
            "read_threads": self.readers,
            "reps": self.rows.first().map(|row| row.tok_s.len()),
            "model": info.name,
            "family": info.family,
            "device": self.device.to_string(),
            "backend": info.backend,
            "placement": info.placement,
            "file_bytes": self.file_bytes,
            "step_bytes": step_bytes,
            "unlocked": info.unlocked,
        });
        self.rows.iter().map(|row| row.json(step_bytes)).chain([finished]).collect()
    }

    pub(super) fn text(&self) -> String {
        let info = self.bench.info();
        let options = self.cpu.map_or(String::new(), |cpu| {
            let (threads, tier, kv) = (output::count(cpu.threads(), "thread"), cpu.tier(), cpu.kv.name());
            format!(", {threads}, {tier}, {kv} cache")
        });
        let memory = self.peak_rss.map_or("unknown".into(), output::size);
        let bandwidth = self.read().zip(self.readers).map_or("not read".into(), |(spread, readers)| {
            let [median, min, max] = [spread.median, spread.min, spread.max].map(|rate| rate / 1e9);
            format!("{median:.1} GB/s ({min:.1} to {max:.1}), {}", output::count(readers, "thread"))
        });
        let mut text = format!("model      {} ({}), {}\n", info.name, info.family, output::size(self.file_bytes));
        // Writing to a string cannot fail.
        let placement = info.placement.iter().map(|placement| format!(", {placement}")).collect::<String>();
        let _ = writeln!(text, "backend    {} on {}{placement}{options}", info.backend, self.device);
        let _ = writeln!(text, "memory     {memory} at the peak, loaded in {:.2} s", self.load_s);
        let _ = writeln!(text, "bandwidth  {bandwidth}");
        text += "\n         tokens   depth sequences     tok/s       min       max bandwidth\n";
        self.rows.iter().for_each(|row| text += &row.text(self.bench.step_bytes()));
        text
    }

    /// Of all readings.
    fn read(&self) -> Option<Spread> {
        Spread::of(&self.rows.iter().flat_map(|row| row.read.iter().copied()).collect::<Vec<_>>())
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(work: Work) -> Row {
        Row { work, tok_s: vec![30.0, 10.0, 20.0], read: vec![4e9, 5e9, 3e9] }
    }

    /// 20 tokens of 2 sequences are 10 steps of 0.1 GB a second, of 4 GB.
    #[test]
    fn the_share_counts_steps_and_not_tokens() {
        assert_eq!(row(Work::decode(8, 0, 2)).share(100_000_000), Some(0.25));
        assert_eq!(row(Work::prefill(8, 0)).share(100_000_000), None);
        assert_eq!(Row { read: vec![], ..row(Work::decode(8, 0, 2)) }.share(100_000_000), None);
    }

    #[test]
    fn rows_stand_below_their_headings() {
        let text = row(Work::decode(8, 4096, 2)).text(100_000_000);
        assert_eq!(text, "decode        8    4096         2     20.00     10.00     30.00      25 %\n");
        let heading = "         tokens   depth sequences     tok/s       min       max bandwidth\n";
        assert_eq!(text.len(), heading.len());
    }
}
