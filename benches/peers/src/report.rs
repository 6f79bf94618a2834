//! The figures as a table and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::bench::Spread;
use serde::Serialize;

use crate::job::Row;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    processor: String,
    threads: usize,
    repetitions: usize,
    busy_processes: usize,
    pub(crate) outcomes: Vec<Outcome>,
}

/// A row of a file's table.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) file: PathBuf,
    pub(crate) row: Row,
    /// What the machine read in the same run, with as many threads: the roofline of decoding.
    pub(crate) read_bytes_s: Option<Summary>,
    /// Ours first.
    pub(crate) figures: Vec<Figure>,
}

/// One engine in one row.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) engine: String,
    pub(crate) setting: Option<String>,
    pub(crate) tok_s: Option<Summary>,
    /// Our speed divided by this engine's, within each repetition.
    pub(crate) ours_is: Option<Summary>,
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) error: Option<String>,
}

/// Median and range, and what they are of.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    median: f64,
    min: f64,
    max: f64,
    values: Vec<f64>,
}

impl Summary {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let Spread { median, min, max } = Spread::of(values)?;
        Some(Self { median, min, max, values: values.to_vec() })
    }

    fn show(&self, decimals: usize) -> String {
        let Self { median, min, max, .. } = self;
        format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
    }
}

impl Report {
    pub(crate) fn new(threads: usize, repetitions: usize, busy_processes: usize) -> Self {
        Self { processor: processor(), threads, repetitions, busy_processes, outcomes: Vec::new() }
    }
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or(std::env::consts::ARCH, |(_, name)| name).into()
}

/// One file's table: our speed, then how many times each peer's it is.
pub(crate) fn markdown(file: &Path, outcomes: &[Outcome]) -> String {
    let mut text = format!("### {}\n\n", file.file_name().unwrap_or_default().to_string_lossy());
    let Some((ours, peers)) = outcomes.first().and_then(|outcome| outcome.figures.split_first()) else {
        return text;
    };
    let peers: Vec<_> = peers.iter().map(|figure| format!(" times {} |", figure.engine)).collect();
    let _ = writeln!(text, "| row | {} tok/s |{} machine reads GB/s |", ours.engine, peers.concat());
    let _ = writeln!(text, "|---|---|{}---|", "---|".repeat(peers.len()));
    for outcome in outcomes {
        let cells: Vec<_> = outcome.figures.iter().enumerate().map(|(i, figure)| figure.cell(i == 0)).collect();
        let reads = outcome.read_bytes_s.as_ref().map_or(0.0, |reads| reads.median / 1e9);
        let _ = writeln!(text, "| {} | {} | {reads:.1} |", outcome.row, cells.join(" | "));
    }
    text.push('\n');
    for (row, figure) in outcomes.iter().flat_map(|outcome| outcome.figures.iter().map(move |one| (outcome.row, one))) {
        if let Some(error) = &figure.error {
            let _ = writeln!(text, "- {row}, {}: {error}", figure.engine);
        }
    }
    text
}

impl Figure {
    fn cell(&self, ours: bool) -> String {
        let Some(tok_s) = &self.tok_s else { return "–".into() };
        if ours {
            return tok_s.show(1);
        }
        let ratio = self.ours_is.as_ref().map_or("–".into(), |ratio| ratio.show(2));
        let setting = self.setting.as_deref().filter(|setting| !setting.is_empty());
        let setting = setting.map_or(String::new(), |setting| format!(", {setting}"));
        format!("{ratio} of {:.1}{setting}", tok_s.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(engine: &str, setting: &str, speeds: &[f64], ratios: &[f64]) -> Figure {
        Figure {
            engine: engine.into(),
            setting: Some(setting.into()),
            tok_s: Summary::of(speeds),
            ours_is: Summary::of(ratios),
            peak_bytes: None,
            error: speeds.is_empty().then(|| "no such row".into()),
        }
    }

    #[test]
    fn a_table_has_a_row_for_each_row() {
        let figures = vec![
            figure("plimsoll", "", &[30.0, 32.0, 31.0], &[1.0]),
            figure("llama.cpp", "flash", &[20.0], &[1.5, 1.25, 1.75]),
            figure("candle", "", &[], &[]),
        ];
        let row = "tg64".parse().unwrap();
        let outcome = Outcome { file: "a/b.gguf".into(), row, read_bytes_s: Summary::of(&[25e9]), figures };
        let expected = "\
### b.gguf

| row | plimsoll tok/s | times llama.cpp | times candle | machine reads GB/s |
|---|---|---|---|---|
| tg64 | 31.0 (30.0–32.0) | 1.50 (1.25–1.75) of 20.0, flash | – | 25.0 |

- tg64, candle: no such row
";
        assert_eq!(markdown(Path::new("a/b.gguf"), &[outcome]), expected);
        assert_eq!(markdown(Path::new("b.gguf"), &[]), "### b.gguf\n\n");
    }
}
