//! Writing results to stdout.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::{Exit, Failure, Result};

/// Writes bytes as they are, at once. A reader that went away (`| head`) is no error but the end.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(Exit::Success as i32),
        other => other.map_err(Failure::io("stdout")),
    }
}

/// Writes `text` and a line end.
pub(crate) fn line(text: &str) -> Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes one object as one line.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|error| Failure::new(Exit::Failure, error))?;
    line(&text)
}

/// Says something beside the result.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// A number of things.
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
