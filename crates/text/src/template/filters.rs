//! Jinja2's filters and tests where minijinja's differ, and the price of the others.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value, filters, tests};

use super::args::{Args, Given, type_error};
use super::json::tojson;
use super::limits::{charge, charge_all, charge_tree, made};
use super::{operators, python, strings};

/// Registers filters and tests.
pub(super) fn register(env: &mut Environment<'_>) {
    register_priced(env);
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
    env.add_test("iterable", is_iterable);
    env.add_test("sequence", is_sequence);
    env.add_test("callable", |value: Value| value.is_undefined() || value.kind() == ValueKind::Plain);
    env.add_test("number", |value: Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    let names: [(&[&str], fn(&mut State<'_, '_>, &Value, &Value) -> Result<bool, Error>); 6] = [
        (&["eq", "equalto", "=="], operators::equal),
        (&["ne", "!="], |state, a, b| operators::equal(state, a, b).map(|same| !same)),
        (&["lt", "lessthan", "<"], |state, a, b| Ok(operators::order(state, a, b)?.is_lt())),
        (&["le", "<="], |state, a, b| Ok(operators::order(state, a, b)?.is_le())),
        (&["gt", "greaterthan", ">"], |state, a, b| Ok(operators::order(state, a, b)?.is_gt())),
        (&["ge", ">="], |state, a, b| Ok(operators::order(state, a, b)?.is_ge())),
    ];
    for (names, test) in names {
        for &name in names {
            env.add_test(name, move |state: &mut State<'_, '_>, a: Value, b: Value| test(state, &a, &b));
        }
    }
    env.add_test("in", |state: &mut State<'_, '_>, item: Value, container: Value| {
        state.apply_filter("in", &[item, container]).map(|found| found.is_true())
    });
    env.add_test("lower", |value: Value| tests::is_lower(&Value::from(python::str(&value))));
    env.add_test("upper", |value: Value| tests::is_upper(&Value::from(python::str(&value))));
}

/// minijinja's own filters, each paying for what it reads and makes; the second group compares whole values.
fn register_priced(env: &mut Environment<'_>) {
    let shallow = [
        ("abs", Value::from_function(filters::abs)),
        ("attr", Value::from_function(filters::attr)),
        ("bool", Value::from_function(filters::bool)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("first", Value::from_function(filters::first)),
        ("last", Value::from_function(filters::last)),
        ("list", Value::from_function(filters::list)),
        ("lower", Value::from_function(filters::lower)),
        ("round", Value::from_function(filters::round)),
        ("sum", Value::from_function(filters::sum)),
        ("title", Value::from_function(filters::title)),
        ("upper", Value::from_function(filters::upper)),
    ];
    let lazy = [
        ("reject", Value::from_function(filters::reject)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("reverse", Value::from_function(filters::reverse)),
        ("select", Value::from_function(filters::select)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("unique", Value::from_function(filters::unique)),
    ];
    let deep = [
        ("groupby", Value::from_function(filters::groupby)),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
        ("pprint", Value::from_function(filters::pprint)),
        ("sort", Value::from_function(filters::sort)),
    ];
    let sized = [
        ("batch", Value::from_function(filters::batch)),
        ("format", Value::from_function(filters::format)),
        ("slice", Value::from_function(filters::slice)),
    ];
    for (name, filter) in shallow {
        env.add_filter(name, move |state: &mut State<'_, '_>, args: Given| {
            let args = args.into_values();
            charge_all(state, &args)?;
            let result = filter.call(state, &args)?;
            made(state, result)
        });
    }
    for (name, filter) in lazy {
        env.add_filter(name, move |state: &mut State<'_, '_>, args: Given| {
            let args = args.into_values();
            for arg in &args {
                charge_tree(state, arg)?;
            }
            let result = filter.call(state, &args)?;
            generator(state, result)
        });
    }
    for (name, filter) in deep {
        env.add_filter(name, move |state: &mut State<'_, '_>, args: Given| {
            let args = args.into_values();
            for arg in args.iter() {
                charge_tree(state, arg)?;
            }
            let result = filter.call(state, &args)?;
            made(state, result)
        });
    }
    for (name, filter) in sized {
        env.add_filter(name, move |state: &mut State<'_, '_>, args: Given| {
            let args = args.into_values();
            charge_all(state, &args)?;
            let numbers = args.iter().filter_map(Value::as_usize).fold(0, usize::saturating_add);
            charge(state, numbers.saturating_mul(16))?;
            if let (Some(template), rest) = (args.first().and_then(Value::as_str), args.get(1..).unwrap_or_default()) {
                super::methods::charge_format(state, template, rest)?;
            }
            let result = filter.call(state, &args)?;
            if name == "format" { made(state, result) } else { generator(state, result) }
        });
    }
    for name in ["chain", "lines", "split", "zip"] {
        env.remove_filter(name);
    }
}

/// What Python's generators are: true, without a length, and empty after the first time. Strings stay.
fn generator(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    let value = made(state, value)?;
    if value.kind() == ValueKind::String {
        return Ok(value);
    }
    let items: Vec<Value> = value.try_iter()?.collect();
    Ok(Value::make_one_shot_iterator(items.into_iter()))
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

fn is_iterable(value: Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
    )
}

fn is_sequence(value: Value) -> bool {
    is_iterable(value.clone()) && value.kind() != ValueKind::Iterable
}
