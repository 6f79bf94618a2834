//! `str()` and `repr()` of Python.

use std::fmt::{self, Write};
use std::sync::LazyLock;

use fancy_regex::Regex;
use minijinja::Value;
use minijinja::value::ValueKind;

use super::limits::MAX_DEPTH;

/// Prints a value as `str()` does; undefined prints nothing.
pub(super) fn write_str(out: &mut dyn Write, value: &Value) -> fmt::Result {
    match value.kind() {
        ValueKind::Undefined => Ok(()),
        ValueKind::String => out.write_str(value.as_str().unwrap_or_default()),
        _ => write_repr(out, value, 0),
    }
}

/// `str()` as a string.
pub(super) fn str(value: &Value) -> String {
    let mut out = String::new();
    // Writing to a string fails only where nesting is too deep.
    let _ = write_str(&mut out, value);
    out
}

fn write_repr(out: &mut dyn Write, value: &Value, depth: usize) -> fmt::Result {
    if depth > MAX_DEPTH {
        return Err(fmt::Error);
    }
    match value.kind() {
        ValueKind::Undefined => out.write_str("Undefined"),
        ValueKind::String => write_quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Number if !value.is_integer() => {
            out.write_str(&float(f64::try_from(value.clone()).unwrap_or(f64::NAN)))
        }
        ValueKind::Seq | ValueKind::Iterable if value.is_tuple() => {
            let comma = if value.len() == Some(1) { "," } else { "" };
            write_items(out, value, depth, "(")?;
            write!(out, "{comma})")
        }
        ValueKind::Seq | ValueKind::Iterable => {
            write_items(out, value, depth, "[")?;
            out.write_char(']')
        }
        ValueKind::Map => write_map(out, value, depth),
        _ => write!(out, "{value}"),
    }
}

fn write_items(out: &mut dyn Write, value: &Value, depth: usize, open: &str) -> fmt::Result {
    out.write_str(open)?;
    for (index, item) in value.try_iter().map_err(|_| fmt::Error)?.enumerate() {
        out.write_str(if index > 0 { ", " } else { "" })?;
        write_repr(out, &item, depth + 1)?;
    }
    Ok(())
}

fn write_map(out: &mut dyn Write, value: &Value, depth: usize) -> fmt::Result {
    out.write_char('{')?;
    for (index, key) in value.try_iter().map_err(|_| fmt::Error)?.enumerate() {
        out.write_str(if index > 0 { ", " } else { "" })?;
        write_repr(out, &key, depth + 1)?;
        out.write_str(": ")?;
        write_repr(out, &value.get_item(&key).unwrap_or_default(), depth + 1)?;
    }
    out.write_char('}')
}

/// A string literal: single quotes unless it has some and no double ones, escapes for what does not print.
fn write_quoted(out: &mut dyn Write, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\\' => out.write_str("\\\\")?,
            c if c == quote => write!(out, "\\{c}")?,
            c if printable(c) => out.write_char(c)?,
            c => match u32::from(c) {
                code @ ..=0xFF => write!(out, "\\x{code:02x}")?,
                code @ ..=0xFFFF => write!(out, "\\u{code:04x}")?,
                code => write!(out, "\\U{code:08x}")?,
            },
        }
    }
    out.write_char(quote)
}

/// `str.isprintable`: not a separator (except the space) and not of the categories "other".
fn printable(c: char) -> bool {
    static UNPRINTABLE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{Z}\p{C}]$").ok());
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let mut buffer = [0; 4];
    let text = c.encode_utf8(&mut buffer);
    UNPRINTABLE.as_ref().is_none_or(|regex| !regex.is_match(text).unwrap_or(true))
}

/// `repr` of a float: the shortest digits, an exponent below 1e-4 and from 1e16.
pub(super) fn float(value: f64) -> String {
    if !value.is_finite() {
        let sign = if value < 0.0 { "-" } else { "" };
        return if value.is_nan() { "nan".to_owned() } else { format!("{sign}inf") };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..16 if value.fract() == 0.0 => format!("{value:.1}"),
        -4..16 => format!("{value}"),
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
    }
}

/// `str.isspace` of one character: Unicode's white space and the information separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats() {
        let cases: [(f64, &str); 14] = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1.5, "1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e22, "1.25e+22"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn strings_in_containers() {
        let cases = [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("it's \"x\"", "'it\\'s \"x\"'"),
            ("\n\t\\\u{7f}", r"'\n\t\\\x7f'"),
            ("\u{A0}\u{AD}é中", r"'\xa0\xadé中'"),
            ("\u{2028}\u{200B}\u{E000}😀\u{F0000}", r"'\u2028\u200b\ue000😀\U000f0000'"),
        ];
        for (text, expected) in cases {
            let mut out = String::new();
            write_quoted(&mut out, text).unwrap();
            assert_eq!(out, expected);
        }
    }
}
