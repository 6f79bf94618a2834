//! Functions that templates may call, beside Jinja2's own.

use minijinja::value::{Object, ObjectRepr, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value, functions};
use std::sync::Arc;

use super::args::{Args, Given, split, type_error};
use super::clock::LocalTime;
use super::limits::{charge, charge_tree, made};
use super::python;

/// What a template said when it called `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// Registers the functions.
pub(super) fn register(env: &mut Environment<'_>) {
    env.add_function("raise_exception", raise_exception);
    env.add_function("namespace", namespace);
    env.add_function("range", range);
    env.add_global("dict", Value::from_object(Dict));
    env.add_function("joiner", minijinja_contrib::globals::joiner);
    env.remove_global("debug");
}

fn raise_exception(message: Value) -> Result<Value, Error> {
    let message = python::str(&message);
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// transformers refuses names that begin with an underscore.
fn namespace(state: &mut State<'_, '_>, args: Given) -> Result<Value, Error> {
    let merged = dict(state, &args.into_values())?;
    if let Some(name) = merged.try_iter()?.find(|name| name.as_str().is_some_and(|name| name.starts_with('_'))) {
        return Err(type_error(format!("a namespace cannot have the name {name}")));
    }
    Value::from_function(functions::namespace).call(state, &[merged])
}

/// As a list: Jinja2's range can be indexed and has a length.
fn range(state: &mut State<'_, '_>, lower: i64, upper: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    const MAX_RANGE: u64 = 100_000;
    let (start, end) = upper.map_or((0, lower), |upper| (lower, upper));
    let step = step.unwrap_or(1);
    let distance = if step > 0 { i128::from(end) - i128::from(start) } else { i128::from(start) - i128::from(end) };
    let count = match step {
        0 => return Err(type_error("range() arg 3 must not be zero")),
        step => (distance.max(0) as u128).div_ceil(u128::from(step.unsigned_abs())),
    };
    if count > u128::from(MAX_RANGE) {
        return Err(type_error(format!("range of {count} numbers, at most {MAX_RANGE}")));
    }
    let count = i64::try_from(count).unwrap_or(0);
    charge(state, usize::try_from(count).unwrap_or(0).saturating_mul(16))?;
    Ok((0..count).map(|index| Value::from(start + index * step)).collect::<Vec<_>>().into())
}

/// A mapping or pairs, then named values.
fn dict(state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
    let (positional, kwargs) = split(args)?;
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    match positional {
        [] => {}
        [map] if map.kind() == ValueKind::Map => {
            for key in map.try_iter()? {
                pairs.push((key.clone(), map.get_item(&key)?));
            }
        }
        [list] => {
            charge_tree(state, list)?;
            for pair in super::operators::iterable(state, list.clone())?.try_iter()? {
                match pair.try_iter()?.collect::<Vec<_>>().as_slice() {
                    [key, value] => pairs.push((key.clone(), value.clone())),
                    _ => return Err(type_error("dict() takes pairs")),
                }
            }
        }
        _ => return Err(Error::from(ErrorKind::TooManyArguments)),
    }
    for name in kwargs.args() {
        pairs.push((Value::from(name), kwargs.get(name)?));
    }
    made(state, Value::from_pairs(pairs))
}

/// `dict(...)` and `dict.fromkeys(...)`.
#[derive(Debug)]
struct Dict;

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        dict(state, args)
    }

    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, name: &str, args: &[Value]) -> Result<Value, Error> {
        if name != "fromkeys" {
            return Err(Error::from(ErrorKind::UnknownMethod));
        }
        let mut args = Args::new(args)?;
        let keys = args.required("iterable")?;
        let value = args.next("value")?.unwrap_or_else(|| Value::from(()));
        args.finish()?;
        charge_tree(state, &keys)?;
        Ok(Value::from_pairs(keys.try_iter()?.map(|key| (key, value.clone()))))
    }
}

/// `strftime_now(format)`, at a fixed time or at that of the call.
pub(super) fn strftime_now(now: Option<LocalTime>) -> Value {
    Value::from_function(move |state: &mut State<'_, '_>, format: String| {
        charge(state, format.len().saturating_mul(16))?;
        let time = now.unwrap_or_else(LocalTime::now);
        time.format(&format).map_err(|error| type_error(format!("strftime_now({format:?}): {error}")))
    })
}
