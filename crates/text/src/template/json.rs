//! The `tojson` filter of transformers, which is `json.dumps`.

use std::fmt::{self, Write};

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::args::{Args, Given};
use super::limits::{MAX_DEPTH, charge, charge_tree};
use super::python::float;

/// `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(state: &mut State<'_, '_>, value: &Value, args: Given) -> Result<Value, Error> {
    let mut args = Args::of(args)?;
    let ensure_ascii = args.next("ensure_ascii")?.is_some_and(|flag| flag.is_true());
    let indent = args.given("indent")?;
    let separators = args.given("separators")?;
    let sort_keys = args.next("sort_keys")?.is_some_and(|flag| flag.is_true());
    args.finish()?;
    charge_tree(state, value)?;
    let indent = match indent {
        None => None,
        Some(value) if value.kind() == ValueKind::String => value.as_str().map(str::to_owned),
        Some(value) => {
            let width = usize::try_from(i64::try_from(value)?.max(0)).unwrap_or(0);
            charge(state, width)?;
            Some(" ".repeat(width))
        }
    };
    let (comma, colon) = match separators {
        Some(separators) => {
            let part = |index| separators.get_item_by_index(index).map(|part| super::python::str(&part));
            (part(0)?, part(1)?)
        }
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let mut dump = Dump { out: String::new(), indent, comma, colon, ensure_ascii, sort_keys, state, paid: 0 };
    dump.value(value, 0)?;
    dump.pay()?;
    Ok(Value::from(dump.out))
}

struct Dump<'a, 'b, 'c> {
    out: String,
    indent: Option<String>,
    comma: String,
    colon: String,
    ensure_ascii: bool,
    sort_keys: bool,
    state: &'a mut State<'b, 'c>,
    /// Bytes of `out` that are charged.
    paid: usize,
}

impl Dump<'_, '_, '_> {
    fn pay(&mut self) -> Result<(), Error> {
        charge(self.state, self.out.len() - self.paid)?;
        self.paid = self.out.len();
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(refused("a value nested too deep"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)),
            ValueKind::String => write_string(&mut self.out, value.as_str().unwrap_or_default(), self.ensure_ascii)?,
            ValueKind::Seq => self.list(value, depth)?,
            ValueKind::Map => self.map(value, depth)?,
            kind => return Err(refused(&kind.to_string())),
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('[');
        for (index, item) in value.try_iter()?.enumerate() {
            self.begin(index, depth + 1)?;
            self.value(&item, depth + 1)?;
        }
        self.end(value, depth, ']')
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        self.out.push('{');
        for (index, key) in keys.iter().enumerate() {
            self.begin(index, depth + 1)?;
            let text = match key.kind() {
                ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
                ValueKind::Number => number(key),
                ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_owned(),
                ValueKind::None => "null".to_owned(),
                kind => return Err(refused(&format!("a key of kind {kind}"))),
            };
            write_string(&mut self.out, &text, self.ensure_ascii)?;
            self.out.push_str(&self.colon);
            self.value(&value.get_item(key)?, depth + 1)?;
        }
        self.end(value, depth, '}')
    }

    /// What stands in front of an element.
    fn begin(&mut self, index: usize, depth: usize) -> Result<(), Error> {
        if index > 0 {
            self.out.push_str(&self.comma);
        }
        self.line(depth)
    }

    fn line(&mut self, depth: usize) -> Result<(), Error> {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
        self.pay()
    }

    /// The closing bracket; on a line of its own unless the container is empty.
    fn end(&mut self, container: &Value, depth: usize, bracket: char) -> Result<(), Error> {
        if container.len() != Some(0) {
            self.line(depth)?;
        }
        self.out.push(bracket);
        Ok(())
    }
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::BadSerialization, format!("{what} is not JSON serializable"))
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()).unwrap_or(f64::NAN) {
        x if x.is_nan() => "NaN".to_owned(),
        x if x.is_infinite() => if x > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        x => float(x),
    }
}

fn write_string(out: &mut String, text: &str, ensure_ascii: bool) -> Result<(), fmt::Error> {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{C}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            c if c < ' ' || ensure_ascii => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(())
}
