//! Reading what a command is given: arguments, stdin, files.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::exit::{Exit, Failure, Result};

/// The argument, or all of stdin; bytes as they are.
pub(crate) fn text(argument: Option<&OsStr>) -> Result<Vec<u8>> {
    match argument {
        Some(text) => Ok(text.as_encoded_bytes().to_vec()),
        None => stdin(),
    }
}

pub(crate) fn stdin() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(Failure::io("stdin"))?;
    Ok(bytes)
}

/// A file; `-` is stdin.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        return stdin();
    }
    std::fs::read(path).map_err(Failure::io(path.display()))
}

/// A JSON array in a file.
pub(crate) fn json_array(path: &Path) -> Result<Vec<Value>> {
    let wrong = |message: String| Failure::new(Exit::Request, format!("{}: {message}", path.display()));
    match serde_json::from_slice(&file(path)?).map_err(|error| wrong(error.to_string()))? {
        Value::Array(values) => Ok(values),
        other => Err(wrong(format!("found {}, expected an array", kind(&other)))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Text that must be UTF-8.
pub(crate) fn utf8(name: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::new(Exit::Request, format!("{name}: byte {at} is not UTF-8"))
    })
}

/// Token ids: separated by commas or white space, as a JSON array, or as the object that `tokenize --json` prints.
pub(crate) fn ids(text: &str) -> Result<Vec<u32>> {
    let wrong = |message: String| Failure::new(Exit::Request, format!("token ids: {message}"));
    if text.trim_start().starts_with('{') {
        let value: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let ids = value.get("ids").cloned().unwrap_or_default();
        return serde_json::from_value(ids).map_err(|error| wrong(format!("`ids`: {error}")));
    }
    let words =
        text.split(|c: char| c == ',' || c.is_whitespace() || c == '[' || c == ']').filter(|word| !word.is_empty());
    let id = |word: &str| word.parse().map_err(|error| wrong(format!("`{}`: {error}", word.escape_debug())));
    words.map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_every_form() {
        for text in ["3,17,42", "3 17 42\n", "[3, 17, 42]", r#"{"ids":[3,17,42],"unlocked":true}"#, "3,\n17,\n42"] {
            assert_eq!(ids(text).unwrap(), [3, 17, 42], "{text}");
        }
        assert_eq!(ids("").unwrap(), [] as [u32; 0]);
        for text in ["3,x", "-1", "4294967296", "{}", "{\"ids\":[1.5]}", "{"] {
            assert!(ids(text).is_err(), "{text}");
        }
    }
}
