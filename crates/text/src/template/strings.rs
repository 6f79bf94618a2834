//! Methods of Python's `str`.

use minijinja::value::Tuple;
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::args::{Args, text, type_error};
use super::limits::charge;
use super::python::is_space;

/// All that can be called; `join` and `format` are with the other methods.
pub(super) const METHODS: [&str; 42] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
    "encode",
    "translate",
];

/// Calls a method of a string; what pycompat does as Python does is left to it.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    subject: &str,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let mut args = Args::new(arguments)?;
    let result = match name {
        "strip" | "lstrip" | "rstrip" => strip(subject, name, args.text("chars")?.as_deref()).into(),
        "split" | "rsplit" => {
            let separator = args.text("sep")?;
            let limit = args.int("maxsplit")?;
            split(subject, separator.as_deref(), limit, name == "rsplit")?.into()
        }
        "splitlines" => lines(subject, args.next("keepends")?.is_some_and(|keep| keep.is_true())).into(),
        "partition" | "rpartition" => partition(subject, &text(&args.required("sep")?, "sep")?, name == "rpartition")?,
        "removeprefix" => cut(subject, subject.strip_prefix(text(&args.required("prefix")?, "prefix")?.as_str())),
        "removesuffix" => cut(subject, subject.strip_suffix(text(&args.required("suffix")?, "suffix")?.as_str())),
        "replace" => {
            let (old, new) = (text(&args.required("old")?, "old")?, text(&args.required("new")?, "new")?);
            replace(state, subject, &old, &new, args.int("count")?)?.into()
        }
        "find" | "rfind" | "index" | "rindex" | "count" | "startswith" | "endswith" => {
            search(subject, name, &mut args)?
        }
        "ljust" | "rjust" | "center" | "zfill" => pad(state, subject, name, &mut args)?,
        "title" => title(subject).into(),
        "casefold" => subject.to_lowercase().into(),
        "swapcase" => subject.chars().flat_map(swapped).collect::<String>().into(),
        "isspace" => (!subject.is_empty() && subject.chars().all(is_space)).into(),
        "isdecimal" => (!subject.is_empty() && subject.chars().all(|c| c.is_ascii_digit())).into(),
        "istitle" => is_title(subject).into(),
        "encode" | "translate" => return Err(Error::from(ErrorKind::UnknownMethod)),
        _ => return unknown_method_callback(state, value, name, arguments),
    };
    args.finish()?;
    Ok(result)
}

fn cut(subject: &str, rest: Option<&str>) -> Value {
    rest.unwrap_or(subject).into()
}

fn strip<'a>(subject: &'a str, name: &str, chars: Option<&str>) -> &'a str {
    let drop = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    match name {
        "lstrip" => subject.trim_start_matches(drop),
        "rstrip" => subject.trim_end_matches(drop),
        _ => subject.trim_matches(drop),
    }
}

/// Words without a separator, pieces with one; the limit counts cuts, from the end for `rsplit`.
fn split(subject: &str, separator: Option<&str>, limit: Option<i64>, from_end: bool) -> Result<Vec<Value>, Error> {
    let cuts = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let pieces: Vec<&str> = match (separator, from_end) {
        (Some(""), _) => return Err(type_error("empty separator")),
        (Some(separator), false) => subject.splitn(cuts.saturating_add(1), separator).collect(),
        (Some(separator), true) => subject.rsplitn(cuts.saturating_add(1), separator).collect(),
        (None, _) => words(subject, cuts, from_end),
    };
    let values = pieces.into_iter().map(Value::from);
    Ok(if from_end { values.rev().collect() } else { values.collect() })
}

/// Words from one end; the last one is the rest as it is, white space at the cut dropped.
fn words(subject: &str, cuts: usize, from_end: bool) -> Vec<&str> {
    let mut rest = strip(subject, if from_end { "rstrip" } else { "lstrip" }, None);
    let mut words = Vec::new();
    while !rest.is_empty() {
        let cut = if from_end { rest.rfind(is_space) } else { rest.find(is_space) };
        let (word, left) = match cut {
            None => (rest, ""),
            Some(_) if words.len() >= cuts => (rest, ""),
            Some(at) if from_end => {
                let (left, word) = rest.split_at(at);
                (strip(word, "lstrip", None), strip(left, "rstrip", None))
            }
            Some(at) => {
                let (word, left) = rest.split_at(at);
                (word, strip(left, "lstrip", None))
            }
        };
        words.push(word);
        rest = left;
    }
    words
}

/// Lines at any of Python's line boundaries.
fn lines(subject: &str, keep: bool) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut rest = subject;
    let boundary = |c: char| matches!(c, '\n'..='\r' | '\u{1C}'..='\u{1E}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    while let Some(at) = rest.find(boundary) {
        let (line, tail) = rest.split_at(at);
        let end = if tail.starts_with("\r\n") { 2 } else { tail.chars().next().map_or(0, char::len_utf8) };
        let (end, tail) = tail.split_at(end);
        lines.push(if keep { Value::from([line, end].concat()) } else { Value::from(line) });
        rest = tail;
    }
    if !rest.is_empty() {
        lines.push(Value::from(rest));
    }
    lines
}

fn partition(subject: &str, separator: &str, from_end: bool) -> Result<Value, Error> {
    let found = match (separator, from_end) {
        ("", _) => return Err(type_error("empty separator")),
        (_, false) => subject.split_once(separator),
        (_, true) => subject.rsplit_once(separator),
    };
    let parts = match (found, from_end) {
        (Some((before, after)), _) => [before, separator, after],
        (None, false) => [subject, "", ""],
        (None, true) => ["", "", subject],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

/// Python's `replace`, paid for before it is made.
pub(super) fn replace(
    state: &mut State<'_, '_>,
    subject: &str,
    old: &str,
    new: &str,
    count: Option<i64>,
) -> Result<String, Error> {
    let limit = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    charge(state, subject.len())?;
    let hits = subject.matches(old).take(limit).count();
    charge(state, hits.saturating_mul(new.len()))?;
    Ok(subject.replacen(old, new, limit))
}

/// The searching methods, all of which take a range of characters.
fn search(subject: &str, name: &str, args: &mut Args) -> Result<Value, Error> {
    let wanted = args.required("sub")?;
    let length = || i64::try_from(subject.chars().count()).unwrap_or(i64::MAX);
    let bound = |index: Option<i64>, default: usize| -> usize {
        let Some(index) = index else { return default };
        let index = if index < 0 { index.saturating_add(length()).max(0) } else { index };
        let nth = usize::try_from(index).unwrap_or(usize::MAX);
        subject.char_indices().nth(nth).map_or(subject.len(), |(at, _)| at)
    };
    let start = bound(args.int("start")?, 0);
    let end = bound(args.int("end")?, subject.len());
    let window = subject.get(start..end).unwrap_or_default();
    if let "startswith" | "endswith" = name {
        let options = if wanted.is_tuple() { wanted.try_iter()?.collect() } else { vec![wanted] };
        for option in options {
            let option = text(&option, name)?;
            if if name == "startswith" { window.starts_with(&option) } else { window.ends_with(&option) } {
                return Ok(true.into());
            }
        }
        return Ok(false.into());
    }
    let wanted = text(&wanted, name)?;
    let found = match name {
        "count" => return Ok(window.matches(wanted.as_str()).count().into()),
        "find" | "index" => window.find(&wanted),
        _ => window.rfind(&wanted),
    };
    let position = found.and_then(|at| subject.get(..start + at)).map(|before| before.chars().count());
    match (position, name) {
        (Some(position), _) => Ok(position.into()),
        (None, "find" | "rfind") => Ok((-1).into()),
        (None, _) => Err(type_error("substring not found")),
    }
}

fn pad(state: &mut State<'_, '_>, subject: &str, name: &str, args: &mut Args) -> Result<Value, Error> {
    let width = args.required("width").and_then(i64::try_from)?;
    let fill = if name == "zfill" { "0".to_owned() } else { args.text("fillchar")?.unwrap_or_else(|| " ".to_owned()) };
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(subject.chars().count());
    if fill.chars().count() != 1 {
        return Err(type_error("the fill character must be exactly one character long"));
    }
    charge(state, missing.saturating_mul(fill.len()))?;
    let odd = usize::try_from(width).unwrap_or(0) & 1;
    let (left, right) = match name {
        "ljust" => (0, missing),
        "center" => (missing / 2 + (missing & odd & 1), missing - missing / 2 - (missing & odd & 1)),
        _ => (missing, 0),
    };
    let (sign, digits) = match subject.strip_prefix(['+', '-']) {
        Some(digits) if name == "zfill" => subject.split_at(subject.len() - digits.len()),
        _ => ("", subject),
    };
    Ok(Value::from([sign, &fill.repeat(left), digits, &fill.repeat(right)].concat()))
}

fn swapped(c: char) -> Vec<char> {
    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
}

/// A capital after everything that has no case: `They'Re`.
fn title(subject: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(subject.len());
    for c in subject.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = c.is_alphabetic() && (c.is_uppercase() || c.is_lowercase());
    }
    out
}

/// Capitals only at the beginning of words, and at least one.
fn is_title(subject: &str) -> bool {
    let mut any = false;
    let mut inside = false;
    for c in subject.chars() {
        if (c.is_uppercase() && inside) || (c.is_lowercase() && !inside) {
            return false;
        }
        inside = c.is_uppercase() || c.is_lowercase();
        any |= inside;
    }
    any
}
