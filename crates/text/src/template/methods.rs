//! Methods of Python's `dict`, `list` and `str`, and the attribute lookups that find them.

use std::sync::Arc;

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::args::{Args, text, type_error};
use super::limits::{charge, charge_all, made};
use super::operators::equal;
use super::{python, strings};

const DICT: [&str; 5] = ["copy", "get", "items", "keys", "values"];
const LIST: [&str; 3] = ["copy", "count", "index"];

/// Whether some type has a method of this name.
pub(super) fn is_method(name: &str) -> bool {
    DICT.contains(&name) || LIST.contains(&name) || strings::METHODS.contains(&name)
}

fn has_method(value: &Value, name: &str) -> bool {
    match value.kind() {
        ValueKind::Map => DICT.contains(&name),
        ValueKind::Seq => LIST.contains(&name),
        ValueKind::String => strings::METHODS.contains(&name),
        _ => false,
    }
}

/// A method that is not called (yet): true, defined, callable.
#[derive(Debug)]
pub(super) struct Method {
    of: Value,
    name: String,
}

impl Object for Method {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        self.of.call_method(state, &self.name, args)
    }
}

fn method(value: &Value, name: &str) -> Option<Value> {
    has_method(value, name).then(|| Value::from_object(Method { of: value.clone(), name: name.to_owned() }))
}

/// `value.name`: a method before an item of that name.
pub(super) fn get_attribute(value: Value, name: &str) -> Result<Value, Error> {
    method(&value, name).map_or_else(|| value.get_attr(name), Ok)
}

/// `value[key]`: an item before a method of that name.
pub(super) fn get_item(state: &mut State<'_, '_>, value: Value, key: Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        charge_all(state, std::slice::from_ref(&value))?;
    }
    let item = value.get_item(&key)?;
    let name = key.as_str().filter(|_| item.is_undefined());
    Ok(name.and_then(|name| method(&value, name)).unwrap_or(item))
}

/// Calls a method; the environment's callback for methods minijinja does not know, which are all of these.
pub(super) fn call(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    charge_all(state, args)?;
    let result = match value.kind() {
        ValueKind::String => {
            charge_all(state, std::slice::from_ref(value))?;
            match (name, value.as_str()) {
                ("format", Some(template)) => {
                    charge_format(state, template, args)?;
                    format(FormatStyle::StrFormat, template, args).map(Value::from)
                }
                ("join", Some(separator)) => join(state, separator, args),
                (_, Some(subject)) => strings::call(state, value, subject, name, args),
                (_, None) => Err(Error::from(ErrorKind::UnknownMethod)),
            }
        }
        ValueKind::Map => dict(value, name, args),
        ValueKind::Seq => list(state, value, name, args),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }?;
    made(state, result)
}

/// Pays for what a format string may print: its widths and, for each field, all arguments.
pub(super) fn charge_format(state: &mut State<'_, '_>, template: &str, args: &[Value]) -> Result<(), Error> {
    let widths = template.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let widths = widths.map(|digits| digits.parse::<usize>().unwrap_or(usize::MAX)).fold(0, usize::saturating_add);
    let given = template.contains('*') || template.contains(":{");
    let given = args.iter().filter(|_| given).filter_map(Value::as_usize).fold(0, usize::saturating_add);
    let fields = template.matches(['{', '%']).count();
    let longest = args.iter().map(|value| value.as_str().map_or(64, str::len)).fold(0, usize::saturating_add);
    charge(state, widths.saturating_add(given).saturating_add(fields.saturating_mul(longest)))
}

fn join(state: &mut State<'_, '_>, separator: &str, args: &[Value]) -> Result<Value, Error> {
    let mut args = Args::new(args)?;
    let items = args.required("iterable")?;
    args.finish()?;
    let mut out = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let item = text(&item, "an element of `join`")?;
        charge(state, separator.len() + item.len())?;
        out.push_str(if index > 0 { separator } else { "" });
        out.push_str(&item);
    }
    Ok(Value::from(out))
}

fn dict(value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let mut args = Args::new(args)?;
    let pairs = || Ok::<_, Error>(value.try_iter()?.map(|key| (key.clone(), value.get_item(&key).unwrap_or_default())));
    match name {
        "get" => {
            let key = args.required("key")?;
            let default = args.next("default")?;
            args.finish()?;
            let item = value.as_object().and_then(|map| map.get_value(&key));
            Ok(item.or(default).unwrap_or_else(|| Value::from(())))
        }
        "keys" | "values" | "items" | "copy" => {
            args.finish()?;
            match name {
                "keys" => Ok(iterable(value.try_iter()?.collect())),
                "values" => Ok(iterable(pairs()?.map(|(_, item)| item).collect())),
                "items" => Ok(iterable(pairs()?.map(|(key, item)| Tuple::from([key, item]).into()).collect())),
                _ => Ok(Value::from_pairs(pairs()?)),
            }
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// Values to iterate over, any number of times, that are no list.
pub(super) fn iterable(items: Vec<Value>) -> Value {
    Value::make_object_iterable(items, |items| Box::new(items.iter().cloned()))
}

fn list(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if !LIST.contains(&name) {
        return Err(Error::from(ErrorKind::UnknownMethod));
    }
    let mut args = Args::new(args)?;
    if name == "copy" {
        args.finish()?;
        return Ok(value.try_iter()?.collect::<Vec<_>>().into());
    }
    let wanted = args.required("value")?;
    args.finish()?;
    let mut found = Vec::new();
    for (index, item) in value.try_iter()?.enumerate() {
        if equal(state, &item, &wanted)? {
            found.push(index);
        }
    }
    match (name, found.first()) {
        ("count", _) => Ok(Value::from(found.len())),
        (_, Some(&index)) => Ok(Value::from(index)),
        (_, None) => Err(type_error(format!("{} is not in the list", python::str(&wanted)))),
    }
}
