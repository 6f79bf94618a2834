//! Jinja2's tests (`x is ...`) where minijinja's differ.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, State, Value, tests};

use super::operators::{equal, order, rem};
use super::python;

type Comparison = fn(&mut State<'_, '_>, &Value, &Value) -> Result<bool, Error>;

/// Registers the tests.
pub(super) fn register(env: &mut Environment<'_>) {
    env.add_test("iterable", is_iterable);
    env.add_test("sequence", is_sequence);
    env.add_test("callable", |value: Value| value.is_undefined() || value.kind() == ValueKind::Plain);
    env.add_test("number", |value: Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    let comparisons: [(&[&'static str], Comparison); 6] = [
        (&["eq", "equalto", "=="], equal),
        (&["ne", "!="], |state, a, b| equal(state, a, b).map(|same| !same)),
        (&["lt", "lessthan", "<"], |state, a, b| Ok(order(state, a, b)?.is_lt())),
        (&["le", "<="], |state, a, b| Ok(order(state, a, b)?.is_le())),
        (&["gt", "greaterthan", ">"], |state, a, b| Ok(order(state, a, b)?.is_gt())),
        (&["ge", ">="], |state, a, b| Ok(order(state, a, b)?.is_ge())),
    ];
    for (names, test) in comparisons {
        for &name in names {
            env.add_test(name, move |state: &mut State<'_, '_>, a: Value, b: Value| test(state, &a, &b));
        }
    }
    env.add_test("in", |state: &mut State<'_, '_>, item: Value, container: Value| {
        state.apply_filter("in", &[item, container]).map(|found| found.is_true())
    });
    env.add_test("divisibleby", |state: &mut State<'_, '_>, a: Value, b: Value| leaves(state, a, b, 0));
    env.add_test("even", |state: &mut State<'_, '_>, a: Value| leaves(state, a, Value::from(2), 0));
    env.add_test("odd", |state: &mut State<'_, '_>, a: Value| leaves(state, a, Value::from(2), 1));
    env.add_test("lower", |value: Value| tests::is_lower(&Value::from(python::str(&value))));
    env.add_test("upper", |value: Value| tests::is_upper(&Value::from(python::str(&value))));
}

/// Whether `a % b` is this.
fn leaves(state: &mut State<'_, '_>, a: Value, b: Value, rest: i64) -> Result<bool, Error> {
    let remainder = rem(state, a, b)?;
    equal(state, &remainder, &Value::from(rest))
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
