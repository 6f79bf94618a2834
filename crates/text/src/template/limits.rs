//! Bounds on what a template may do: it is code out of a model file.
//!
//! minijinja counts instructions; one instruction can still double a string. So every operator, filter, method and
//! print pays for the bytes it reads and makes out of one budget, which also bounds memory.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// Instructions of one rendering.
pub(super) const FUEL: u64 = 10_000_000;

/// Bytes that one rendering may read and make in all its steps together.
const WORK: u64 = 256 << 20;

/// Levels of lists and maps inside each other.
pub(super) const MAX_DEPTH: usize = 200;

/// Cost of visiting a list or map, and of each of its elements.
const VISIT: usize = 8;

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

/// What a value costs to read or copy, its elements not included.
fn size(value: &Value) -> usize {
    match value.as_str() {
        Some(text) => text.len(),
        None if value.as_object().is_some() => VISIT.saturating_mul(value.len().unwrap_or(1).saturating_add(1)),
        None => 1,
    }
}

/// Pays for reading values.
pub(super) fn charge_all(state: &mut State<'_, '_>, values: &[Value]) -> Result<(), Error> {
    charge(state, values.iter().map(size).fold(values.len(), usize::saturating_add))
}

/// Pays for a value that was made.
pub(super) fn made(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    charge(state, size(&value))?;
    Ok(value)
}

/// Pays for reading a value with all its elements, refusing what is nested too deep to compare or drop.
pub(super) fn charge_tree(state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    charge(state, size(value))?;
    visit(state, value, 0)
}

fn visit(state: &mut State<'_, '_>, value: &Value, depth: usize) -> Result<(), Error> {
    if value.as_object().is_none() {
        return Ok(());
    }
    charge(state, VISIT)?;
    if depth > MAX_DEPTH {
        return Err(exhausted(format!("values nested more than {MAX_DEPTH} deep")));
    }
    for item in elements(value)? {
        visit(state, &item, depth + 1)?;
    }
    Ok(())
}

/// The elements of a list, the values of a map; nothing else has any. Lazy iterables are left alone.
fn elements(value: &Value) -> Result<Vec<Value>, Error> {
    match value.kind() {
        ValueKind::Seq => Ok(value.try_iter()?.filter(|item| item.as_object().is_some()).collect()),
        ValueKind::Map => {
            let values = value.try_iter()?.map(|key| value.get_item(&key));
            values.filter(|item| item.as_ref().map_or(true, |item| item.as_object().is_some())).collect()
        }
        _ => Ok(Vec::new()),
    }
}
