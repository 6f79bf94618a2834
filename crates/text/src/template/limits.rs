//! Bounds on what a template may do: it is code out of a model file.
//!
//! minijinja counts instructions; one instruction can still double a string. So every operator, filter, method and
//! print pays for the bytes it reads and makes out of one budget, which also bounds memory.

use minijinja::value::ObjectRepr;
use minijinja::{Error, ErrorKind, State, Value};

use super::given::is_given;

/// Instructions of one rendering.
pub(super) const FUEL: u64 = 10_000_000;

/// Bytes that one rendering may read and make in all its steps together.
const WORK: u64 = 256 << 20;

/// Levels of lists and maps inside each other.
pub(super) const MAX_DEPTH: usize = 200;

/// Bytes that an element of a list or map takes, about.
const ELEMENT: usize = 16;

/// Cost of going through a list or map, which takes as long as copying so many bytes.
const VISIT: usize = 32;

struct Work {
    left: u64,
}

/// Marks errors of this module among the template's own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Exhausted(pub(super) String);

fn exhausted(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Exhausted(message))
}

/// Pays for `bytes` of work.
pub(super) fn charge(state: &mut State<'_, '_>, bytes: usize) -> Result<(), Error> {
    let work = state.get_or_insert_extension(Work { left: WORK });
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    work.left = work.left.checked_sub(bytes).ok_or_else(|| exhausted(format!("more than {WORK} bytes of work")))?;
    Ok(())
}

/// Pays for reading values; lists and maps are read by reference.
pub(super) fn charge_all(state: &mut State<'_, '_>, values: &[Value]) -> Result<(), Error> {
    let lengths = values.iter().filter_map(|value| value.as_str().map(str::len));
    charge(state, lengths.fold(values.len(), usize::saturating_add))
}

/// Pays for a value that was made.
pub(super) fn made(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    let elements = if value.as_object().is_some() { value.len().unwrap_or(1) } else { 0 };
    charge(state, value.as_str().map_or(elements.saturating_mul(ELEMENT), str::len))?;
    Ok(value)
}

/// Pays for reading a value with all that is in it.
pub(super) fn charge_tree(state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    walk(state, value, 0, &|_| false)
}

/// Refuses to store what is nested too deep to be dropped again.
pub(super) fn check_depth(state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    walk(state, value, 0, &|value| value.as_object().is_none() || is_given(value))
}

fn walk(state: &mut State<'_, '_>, value: &Value, depth: usize, skip: &dyn Fn(&Value) -> bool) -> Result<(), Error> {
    if skip(value) {
        return charge(state, 1);
    }
    let Some(object) = value.as_object() else { return charge_all(state, std::slice::from_ref(value)) };
    charge(state, VISIT)?;
    if depth > MAX_DEPTH {
        return Err(exhausted(format!("values nested more than {MAX_DEPTH} deep")));
    }
    // Lazy iterables are left alone: going through one may use it up.
    match object.repr() {
        ObjectRepr::Seq => value.try_iter()?.try_for_each(|item| walk(state, &item, depth + 1, skip)),
        ObjectRepr::Map => value.try_iter()?.try_for_each(|key| {
            let item = object.get_value(&key).unwrap_or_default();
            walk(state, &key, depth + 1, skip)?;
            walk(state, &item, depth + 1, skip)
        }),
        _ => Ok(()),
    }
}
