//! Jinja2's filters where minijinja's differ.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};

use super::args::{Args, Given, type_error};
use super::json::tojson;
use super::limits::{charge, charge_all, charge_tree, made};
use super::priced::generator;
use super::{operators, python, strings};

/// Registers the filters.
pub(super) fn register(env: &mut Environment<'_>) {
    env.add_filter("tojson", tojson);
    env.add_filter("length", length);
    env.add_filter("count", length);
    env.add_filter("items", items);
    env.add_filter("int", int);
    env.add_filter("float", float);
    env.add_filter("map", map);
    env.add_filter("e", escape);
    env.add_filter("escape", escape);
    env.add_filter("center", center);
    env.add_filter("replace", replace);
    env.add_filter("default", default);
    env.add_filter("d", default);
    env.add_filter("trim", trim);
    env.add_filter("join", join);
    env.add_filter("indent", indent);
    env.add_filter("string", string);
    env.add_filter("wordcount", word_count);
    env.add_filter("safe", |value: Value| Value::from_safe_string(python::str(&value)));
    env.add_filter("dynamic", |value: Value| value);
}

fn length(state: &mut State<'_, '_>, value: Value) -> Result<usize, Error> {
    charge_all(state, std::slice::from_ref(&value))?;
    match value.kind() {
        ValueKind::Undefined => Ok(0),
        _ => value.len().ok_or_else(|| type_error(format!("a value of kind {} has no length", value.kind()))),
    }
}

fn items(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => generator(state, value),
        ValueKind::Map => {
            let items = super::methods::call(state, &value, "items", &[])?;
            generator(state, items)
        }
        _ => Err(type_error("can only get item pairs from a mapping")),
    }
}

/// Python's `int(value)`, or the default.
fn int(value: Value, args: Given) -> Result<Value, Error> {
    let mut args = Args::of(args)?;
    let default = args.next("default")?.unwrap_or_else(|| Value::from(0));
    let base = args.int("base")?.unwrap_or(10);
    args.finish()?;
    let parsed = match value.kind() {
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => return Ok(value),
        ValueKind::Number => f64::try_from(value)?.trunc().to_string().parse().ok(),
        ValueKind::String => parse_int(value.as_str().unwrap_or_default(), base),
        _ => None,
    };
    Ok(match parsed {
        Some(number) => i64::try_from(number).map_or_else(|_| Value::from(number), Value::from),
        None => default,
    })
}

/// Digits in a base with sign, prefix and single underscores; or a float, cut.
fn parse_int(text: &str, base: i64) -> Option<i128> {
    let text = text.trim_matches(python::is_space);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefix = match base {
        2 => ["0b", "0B"],
        8 => ["0o", "0O"],
        16 => ["0x", "0X"],
        _ => ["", ""],
    };
    let bare = prefix.iter().find_map(|prefix| digits.strip_prefix(prefix)).unwrap_or(digits);
    let grouped =
        !bare.starts_with('_') && !bare.ends_with('_') && !bare.contains("__") && !bare.starts_with(['+', '-']);
    let radix = u32::try_from(base).ok().filter(|radix| (2..=36).contains(radix))?;
    match i128::from_str_radix(&bare.replace('_', ""), radix) {
        Ok(number) if grouped => Some(sign * number),
        _ => text.parse::<f64>().ok().filter(|number| number.is_finite())?.trunc().to_string().parse().ok(),
    }
}

fn float(value: Value, args: Given) -> Result<Value, Error> {
    let mut args = Args::of(args)?;
    let default = args.next("default")?.unwrap_or_else(|| Value::from(0.0));
    args.finish()?;
    let parsed = match value.kind() {
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value).ok(),
        ValueKind::String => value.as_str().and_then(|text| text.trim_matches(python::is_space).parse().ok()),
        _ => None,
    };
    Ok(parsed.map_or(default, Value::from))
}

/// A filter over all items, with further arguments; or an attribute of each.
fn map(state: &mut State<'_, '_>, value: Value, args: Given) -> Result<Value, Error> {
    let args = args.into_values();
    let items = operators::iterable(state, value)?;
    let Some((name, rest)) = args.split_first().filter(|(name, _)| name.kind() == ValueKind::String) else {
        let all = [&[items], args.as_slice()].concat();
        let result = Value::from_function(filters::map).call(state, &all)?;
        return generator(state, result);
    };
    let name = name.as_str().unwrap_or_default();
    let mapped = items.try_iter()?.map(|item| state.apply_filter(name, &[&[item], rest].concat()));
    let mapped = mapped.collect::<Result<Vec<_>, _>>()?;
    generator(state, Value::from(mapped))
}

fn escape(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    let text = string(state, value)?;
    match text.as_str() {
        Some(plain) if !text.is_safe() => {
            charge(state, plain.len().saturating_mul(6))?;
            Ok(Value::from_safe_string(operators::escaped(plain)))
        }
        _ => Ok(text),
    }
}

fn center(state: &mut State<'_, '_>, value: Value, width: Option<i64>) -> Result<Value, Error> {
    let text = string(state, value)?;
    super::methods::call(state, &text, "center", &[Value::from(width.unwrap_or(80))])
}

fn replace(state: &mut State<'_, '_>, value: Value, args: Given) -> Result<String, Error> {
    let mut args = Args::of(args)?;
    let (old, new) = (python::str(&args.required("old")?), python::str(&args.required("new")?));
    let count = args.int("count")?;
    args.finish()?;
    strings::replace(state, &python::str(&value), &old, &new, count)
}

fn default(value: Value, args: Given) -> Result<Value, Error> {
    let mut args = Args::of(args)?;
    let default = args.next("default_value")?.unwrap_or_else(|| Value::from(""));
    let boolean = args.next("boolean")?.is_some_and(|flag| flag.is_true());
    args.finish()?;
    Ok(if value.is_undefined() || (boolean && !value.is_true()) { default } else { value })
}

fn trim(state: &mut State<'_, '_>, value: Value, args: Given) -> Result<Value, Error> {
    let text = Value::from(python::str(&value));
    super::methods::call(state, &text, "strip", &args.into_values())
}

fn join(state: &mut State<'_, '_>, value: Value, args: Given) -> Result<Value, Error> {
    let mut args = Args::of(args)?;
    let separator = args.next("d")?.map(|separator| python::str(&separator)).unwrap_or_default();
    let attribute = args.text("attribute")?;
    args.finish()?;
    let items = operators::iterable(state, value)?;
    let mut out = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let item = match &attribute {
            Some(path) => path.split('.').try_fold(item, |item, name| item.get_item(&Value::from(name)))?,
            None => item,
        };
        charge_tree(state, &item)?;
        let item = python::str(&item);
        charge(state, separator.len() + item.len())?;
        out.push_str(if index > 0 { &separator } else { "" });
        out.push_str(&item);
    }
    Ok(Value::from(out))
}

/// `indent(s, width=4, first=False, blank=False)`.
fn indent(state: &mut State<'_, '_>, value: Value, args: Given) -> Result<Value, Error> {
    let mut args = Args::of(args)?;
    let width = args.next("width")?.unwrap_or_else(|| Value::from(4));
    let first = args.next("first")?.is_some_and(|flag| flag.is_true());
    let blank = args.next("blank")?.is_some_and(|flag| flag.is_true());
    args.finish()?;
    let count = usize::try_from(i64::try_from(width.clone()).unwrap_or(0)).unwrap_or(0);
    charge(state, count)?;
    let space = width.as_str().map_or_else(|| " ".repeat(count), str::to_owned);
    let text = python::str(&value);
    charge(state, text.matches('\n').count().saturating_add(1).saturating_mul(space.len()).saturating_add(text.len()))?;
    let mut out = if first { space.clone() } else { String::new() };
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
            out.push_str(if blank || !line.is_empty() { &space } else { "" });
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

/// Runs of letters, digits and underscores.
fn word_count(state: &mut State<'_, '_>, value: Value) -> Result<usize, Error> {
    let text = string(state, value)?;
    let words = text.as_str().unwrap_or_default().split(|c: char| !(c.is_alphanumeric() || c == '_'));
    Ok(words.filter(|word| !word.is_empty()).count())
}

fn string(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    charge_tree(state, &value)?;
    if value.kind() == ValueKind::String { Ok(value) } else { made(state, Value::from(python::str(&value))) }
}
