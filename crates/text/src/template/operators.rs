//! Python's operators, in place of minijinja's: they differ in details, and minijinja's know no limits.

use std::cmp::Ordering;

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Tuple, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::args::{Given, type_error};
use super::limits::{charge, charge_all, charge_tree, check_depth, made};
use super::methods;
use super::python;

/// Registers the operators under names that no template can write.
pub(super) fn register(env: &mut Environment<'_>) {
    env.add_filter("+", add);
    env.add_filter("*", mul);
    env.add_filter("%", rem);
    env.add_filter("~", concat);
    env.add_filter("==", |state: &mut State<'_, '_>, a: Value, b: Value| equal(state, &a, &b));
    env.add_filter("!=", |state: &mut State<'_, '_>, a: Value, b: Value| equal(state, &a, &b).map(|same| !same));
    env.add_filter("<", |state: &mut State<'_, '_>, a: Value, b: Value| Ok(order(state, &a, &b)?.is_lt()));
    env.add_filter("<=", |state: &mut State<'_, '_>, a: Value, b: Value| Ok(order(state, &a, &b)?.is_le()));
    env.add_filter(">", |state: &mut State<'_, '_>, a: Value, b: Value| Ok(order(state, &a, &b)?.is_gt()));
    env.add_filter(">=", |state: &mut State<'_, '_>, a: Value, b: Value| Ok(order(state, &a, &b)?.is_ge()));
    env.add_filter("in", |state: &mut State<'_, '_>, item: Value, container: Value| contains(state, &container, &item));
    env.add_filter(".", methods::get_attribute);
    env.add_filter("()", cycle);
    env.add_filter("[]", methods::get_item);
    env.add_filter("[:]", slice);
    env.add_filter("for", iterable);
    env.add_filter("=", stored);
    env.add_filter("<<", |state: &mut State<'_, '_>, value: Value| charge_tree(state, &value).map(|()| value));
    env.add_filter("ns", private_name);
}

enum Number {
    Int(i128),
    Float(f64),
}

fn number(value: &Value) -> Option<Number> {
    match value.kind() {
        ValueKind::Bool => Some(Number::Int(i128::from(value.is_true()))),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok().map(Number::Int),
        ValueKind::Number => f64::try_from(value.clone()).ok().map(Number::Float),
        _ => None,
    }
}

/// Integers on both sides, else both as floats.
fn numbers(a: &Value, b: &Value) -> Option<Result<(i128, i128), (f64, f64)>> {
    let float = |number: &Number| match *number {
        Number::Int(x) => x as f64,
        Number::Float(x) => x,
    };
    match (number(a)?, number(b)?) {
        (Number::Int(a), Number::Int(b)) => Some(Ok((a, b))),
        (a, b) => Some(Err((float(&a), float(&b)))),
    }
}

fn integer(value: Option<i128>) -> Result<Value, Error> {
    let value = value.ok_or_else(|| type_error("integer too large"))?;
    Ok(i64::try_from(value).map_or_else(|_| Value::from(value), Value::from))
}

fn unsupported(operator: &str, a: &Value, b: &Value) -> Error {
    type_error(format!("unsupported operand types for {operator}: {} and {}", a.kind(), b.kind()))
}

fn add(state: &mut State<'_, '_>, a: Value, b: Value) -> Result<Value, Error> {
    charge_all(state, &[a.clone(), b.clone()])?;
    if let (Some(left), Some(right)) = (a.as_str(), b.as_str()) {
        return Ok(match (a.is_safe(), b.is_safe()) {
            (false, false) => Value::from([left, right].concat()),
            (left_safe, right_safe) => {
                let part = |text: &str, safe: bool| if safe { text.to_owned() } else { escaped(text) };
                Value::from_safe_string(part(left, left_safe) + &part(right, right_safe))
            }
        });
    }
    match numbers(&a, &b) {
        Some(Ok((a, b))) => return integer(a.checked_add(b)),
        Some(Err((a, b))) => return Ok(Value::from(a + b)),
        None => {}
    }
    if a.kind() == ValueKind::Seq && b.kind() == ValueKind::Seq && a.is_tuple() == b.is_tuple() {
        let items: Vec<Value> = a.try_iter()?.chain(b.try_iter()?).collect();
        let sum = if a.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) };
        return made(state, sum);
    }
    Err(unsupported("+", &a, &b))
}

/// What `markupsafe` does to plain text beside safe text.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;").replace('"', "&#34;")
}

fn mul(state: &mut State<'_, '_>, a: Value, b: Value) -> Result<Value, Error> {
    match numbers(&a, &b) {
        Some(Ok((a, b))) => return integer(a.checked_mul(b)),
        Some(Err((a, b))) => return Ok(Value::from(a * b)),
        None => {}
    }
    let (value, count) = match (number(&a), number(&b)) {
        (None, Some(Number::Int(count))) => (&a, count),
        (Some(Number::Int(count)), None) => (&b, count),
        _ => return Err(unsupported("*", &a, &b)),
    };
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    let length = value.as_str().map_or_else(|| value.len().unwrap_or(0).saturating_mul(16), str::len);
    charge(state, length.saturating_mul(count))?;
    if let Some(text) = value.as_str() {
        return Ok(Value::from(text.repeat(count)));
    }
    if value.kind() != ValueKind::Seq {
        return Err(unsupported("*", &a, &b));
    }
    let items: Vec<Value> = value.try_iter()?.collect();
    let items: Vec<Value> = items.iter().cycle().take(items.len().saturating_mul(count)).cloned().collect();
    Ok(if value.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) })
}

pub(super) fn rem(state: &mut State<'_, '_>, a: Value, b: Value) -> Result<Value, Error> {
    if let Some(template) = a.as_str() {
        let args: Vec<Value> = if b.is_tuple() { b.try_iter()?.collect() } else { vec![b.clone()] };
        methods::charge_format(state, template, &args)?;
        return format(FormatStyle::Printf, template, &args).map(Value::from);
    }
    match numbers(&a, &b) {
        Some(Ok((_, 0)) | Err((_, 0.0))) => Err(type_error("modulo by zero")),
        Some(Ok((a, b))) => {
            integer(a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
        }
        Some(Err((a, b))) => {
            let rest = a % b;
            let rest = if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest };
            Ok(Value::from(if rest == 0.0 { 0f64.copysign(b) } else { rest }))
        }
        None => Err(unsupported("%", &a, &b)),
    }
}

fn concat(state: &mut State<'_, '_>, a: Value, b: Value) -> Result<Value, Error> {
    charge_tree(state, &a)?;
    charge_tree(state, &b)?;
    made(state, Value::from(python::str(&a) + &python::str(&b)))
}

/// `==`: a list never equals a tuple, text never a number.
pub(super) fn equal(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<bool, Error> {
    if let Some(numbers) = numbers(a, b) {
        return Ok(match numbers {
            Ok((a, b)) => a == b,
            Err((a, b)) => a == b,
        });
    }
    charge_tree(state, b)?;
    Ok(a.is_tuple() == b.is_tuple() && a == b)
}

/// `<` and its kin, which only numbers, strings and lists have among themselves.
pub(super) fn order(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<Ordering, Error> {
    let same_kind = match numbers(a, b) {
        Some(Ok((a, b))) => return Ok(a.cmp(&b)),
        Some(Err((a, b))) => return a.partial_cmp(&b).ok_or_else(|| type_error("NaN has no order")),
        None => a.kind() == b.kind() && a.is_tuple() == b.is_tuple(),
    };
    if !same_kind || !matches!(a.kind(), ValueKind::String | ValueKind::Seq) {
        return Err(unsupported("<", a, b));
    }
    charge_tree(state, b)?;
    Ok(a.cmp(b))
}

fn contains(state: &mut State<'_, '_>, container: &Value, item: &Value) -> Result<bool, Error> {
    match container.kind() {
        ValueKind::String => {
            charge_all(state, std::slice::from_ref(container))?;
            let item = item.as_str().ok_or_else(|| unsupported("in", item, container))?;
            Ok(container.as_str().unwrap_or_default().contains(item))
        }
        ValueKind::Map => {
            charge_tree(state, item)?;
            Ok(container.as_object().is_some_and(|map| map.get_value(item).is_some()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            for element in container.try_iter()? {
                if equal(state, item, &element)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ValueKind::Undefined => Ok(false),
        _ => Err(unsupported("in", item, container)),
    }
}

/// `value[start:stop:step]`.
fn slice(state: &mut State<'_, '_>, value: Value, start: Value, stop: Value, step: Value) -> Result<Value, Error> {
    let bound = |bound: &Value| if bound.is_none() { Some(None) } else { i64::try_from(bound.clone()).ok().map(Some) };
    let (Some(start), Some(stop), Some(step)) = (bound(&start), bound(&stop), bound(&step)) else {
        return Err(type_error("slice indices must be integers"));
    };
    if step == Some(0) {
        return Err(type_error("slice step cannot be zero"));
    }
    charge_all(state, std::slice::from_ref(&value))?;
    let result = match value.kind() {
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::String => {
            let chars: Vec<char> = value.as_str().unwrap_or_default().chars().collect();
            Value::from(select(&chars, start, stop, step).into_iter().collect::<String>())
        }
        ValueKind::Seq => {
            let items: Vec<Value> = value.try_iter()?.collect();
            let items = select(&items, start, stop, step);
            if value.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) }
        }
        kind => return Err(type_error(format!("a value of kind {kind} cannot be sliced"))),
    };
    made(state, result)
}

/// The elements of a slice, with Python's bounds.
fn select<T: Clone>(items: &[T], start: Option<i64>, stop: Option<i64>, step: Option<i64>) -> Vec<T> {
    let (length, step) = (i64::try_from(items.len()).unwrap_or(i64::MAX), step.unwrap_or(1));
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let index = |bound: Option<i64>, default: i64| match bound {
        None => default,
        Some(bound) if bound < 0 => bound.saturating_add(length).max(lowest),
        Some(bound) => bound.min(highest),
    };
    let (start, stop) =
        if step > 0 { (index(start, 0), index(stop, length)) } else { (index(start, length - 1), index(stop, -1)) };
    let before = |at: i64| if step > 0 { at < stop } else { at > stop };
    let steps = std::iter::successors(Some(start), |at| at.checked_add(step)).take_while(|&at| before(at));
    steps.filter_map(|at| items.get(usize::try_from(at).ok()?).cloned()).collect()
}

/// What `for` goes over.
pub(super) fn iterable(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    charge_all(state, std::slice::from_ref(&value))?;
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => {
            Err(type_error(format!("{} is not iterable", value.kind())))
        }
        // With a length, which `loop.last` and others need.
        ValueKind::String | ValueKind::Iterable => Ok(value.try_iter()?.collect::<Vec<_>>().into()),
        _ => Ok(value),
    }
}

/// `loop.cycle(...)`, which minijinja divides by the number of its arguments.
fn cycle(state: &mut State<'_, '_>, value: Value, args: Given) -> Result<Value, Error> {
    let args = args.into_values();
    if args.is_empty() {
        return Err(type_error("no items for cycling given"));
    }
    value.call_method(state, "cycle", &args)
}

/// What goes into a variable.
fn stored(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    check_depth(state, &value)?;
    Ok(value)
}

/// transformers keeps templates from setting `_private` names of a namespace.
fn private_name(_: Value) -> Result<Value, Error> {
    Err(type_error("names in a namespace must not begin with an underscore"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices() {
        let items = [0, 1, 2, 3];
        type Case<'a> = (&'a [i32], [Option<i64>; 3], &'a [i32]);
        let cases: [Case<'_>; 12] = [
            (&items, [None, None, None], &[0, 1, 2, 3]),
            (&items, [Some(1), None, None], &[1, 2, 3]),
            (&items, [Some(-2), Some(9), None], &[2, 3]),
            (&items, [Some(9), None, None], &[]),
            (&items, [None, None, Some(-1)], &[3, 2, 1, 0]),
            (&items, [Some(2), Some(0), Some(-1)], &[2, 1]),
            (&items, [Some(9), Some(-9), Some(-2)], &[3, 1]),
            (&items, [Some(0), Some(3), Some(-1)], &[]),
            (&items, [None, None, Some(i64::MIN)], &[3]),
            (&items, [None, None, Some(i64::MAX)], &[0]),
            (&[], [None, None, Some(-1)], &[]),
            (&[], [Some(1), Some(-1), None], &[]),
        ];
        for (items, [start, stop, step], expected) in cases {
            assert_eq!(select(items, start, stop, step), expected, "{start:?} {stop:?} {step:?}");
        }
    }
}
