//! What a child process is asked, and what it answers: one JSON object each way.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use plimsoll::bench::{Phase, Work};
use serde::{Deserialize, Serialize};

/// One measurement by one engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) engine: String,
    /// Words that the engine knows; `NAME=VALUE` is put into the child's environment.
    pub(crate) setting: String,
    pub(crate) file: PathBuf,
    pub(crate) threads: usize,
    pub(crate) row: Row,
}

impl Job {
    #[cfg(any(feature = "llama-cpp", feature = "candle"))]
    pub(crate) fn has(&self, word: &str) -> bool {
        self.setting.split(' ').any(|other| other == word)
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Speed(Speed),
    /// Why the engine cannot do it.
    Error(String),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Speed {
    pub(crate) tok_s: f64,
    /// The most memory that the process ever had (`VmHWM`), weights mapped from the file among it.
    #[serde(default)]
    pub(crate) peak_bytes: Option<u64>,
}

/// Work under the name that llama-bench made usual: `pp512`, `tg64`, `tg64@4096` (after 4096 tokens), `tg64x4` (four
/// sequences together), `tg64x4@4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Row(pub(crate) Work);

impl FromStr for Row {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("row: found '{text}', expected a name such as pp512, tg64, tg64@4096 or tg64x4");
        let number = |digits: &str| digits.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(bad);
        let (row, depth) = match text.split_once('@') {
            Some((row, depth)) => (row, number(depth)?),
            None => (text, 0),
        };
        if let Some(tokens) = row.strip_prefix("pp") {
            return Ok(Self(Work::prefill(number(tokens)?, depth)));
        }
        let row = row.strip_prefix("tg").ok_or_else(bad)?;
        let (tokens, sequences) = row.split_once('x').unwrap_or((row, "1"));
        Ok(Self(Work::decode(number(tokens)?, depth, number(sequences)?)))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Work { phase, tokens, depth, sequences } = self.0;
        f.write_str(match phase {
            Phase::Prefill => "pp",
            Phase::Decode => "tg",
        })?;
        write!(f, "{tokens}")?;
        if sequences > 1 {
            write!(f, "x{sequences}")?;
        }
        if depth > 0 {
            write!(f, "@{depth}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Row {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Row> for String {
    fn from(row: Row) -> Self {
        row.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names() {
        let cases = [
            ("pp512", Work::prefill(512, 0)),
            ("pp512@4096", Work::prefill(512, 4096)),
            ("tg64", Work::decode(64, 0, 1)),
            ("tg64x4@16", Work::decode(64, 16, 4)),
        ];
        for (name, work) in cases {
            assert_eq!(name.parse(), Ok(Row(work)));
            assert_eq!(Row(work).to_string(), name);
        }
        for bad in ["", "512", "pp", "pp0", "tg64x0", "tg64@", "pp512x4", "tg-1", "tgx4"] {
            assert!(bad.parse::<Row>().unwrap_err().contains(bad), "{bad}");
        }
    }
}
