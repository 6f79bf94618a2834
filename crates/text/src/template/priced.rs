//! minijinja's own filters, at a price.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, State, Value, filters};

use super::args::Given;
use super::limits::{charge, charge_all, charge_tree, made};
use super::methods::charge_format;

/// What a filter looks at.
#[derive(Clone, Copy)]
enum Reads {
    /// The text of its arguments, of containers at most the elements.
    Shallow,
    /// All that is in them.
    Deep,
    /// A format string.
    Format,
    /// Elements, and as many more as a number says.
    Count,
}

/// What comes out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gives {
    Value,
    Generator,
}

/// Registers the filters that stay minijinja's; those Jinja2 does not have go.
pub(super) fn register(env: &mut Environment<'_>) {
    use Gives::Generator;
    use Reads::{Count, Deep, Format, Shallow};
    let rows = [
        ("abs", Value::from_function(filters::abs), Shallow, Gives::Value),
        ("attr", Value::from_function(filters::attr), Shallow, Gives::Value),
        ("batch", Value::from_function(filters::batch), Count, Generator),
        ("bool", Value::from_function(filters::bool), Shallow, Gives::Value),
        ("capitalize", Value::from_function(filters::capitalize), Shallow, Gives::Value),
        ("dictsort", Value::from_function(filters::dictsort), Deep, Gives::Value),
        ("first", Value::from_function(filters::first), Shallow, Gives::Value),
        ("format", Value::from_function(filters::format), Format, Gives::Value),
        ("groupby", Value::from_function(filters::groupby), Deep, Gives::Value),
        ("last", Value::from_function(filters::last), Shallow, Gives::Value),
        ("list", Value::from_function(filters::list), Shallow, Gives::Value),
        ("lower", Value::from_function(filters::lower), Deep, Gives::Value),
        ("max", Value::from_function(filters::max), Deep, Gives::Value),
        ("min", Value::from_function(filters::min), Deep, Gives::Value),
        ("pprint", Value::from_function(filters::pprint), Deep, Gives::Value),
        ("reject", Value::from_function(filters::reject), Deep, Generator),
        ("rejectattr", Value::from_function(filters::rejectattr), Deep, Generator),
        ("reverse", Value::from_function(filters::reverse), Shallow, Generator),
        ("round", Value::from_function(filters::round), Shallow, Gives::Value),
        ("select", Value::from_function(filters::select), Deep, Generator),
        ("selectattr", Value::from_function(filters::selectattr), Deep, Generator),
        ("slice", Value::from_function(filters::slice), Count, Generator),
        ("sort", Value::from_function(filters::sort), Deep, Gives::Value),
        ("sum", Value::from_function(filters::sum), Deep, Gives::Value),
        ("title", Value::from_function(filters::title), Deep, Gives::Value),
        ("unique", Value::from_function(filters::unique), Deep, Generator),
        ("upper", Value::from_function(filters::upper), Deep, Gives::Value),
    ];
    for (name, filter, reads, gives) in rows {
        env.add_filter(name, move |state: &mut State<'_, '_>, args: Given| {
            let args = args.into_values();
            pay(state, &args, reads)?;
            let result = filter.call(state, &args)?;
            if gives == Generator { generator(state, result) } else { made(state, result) }
        });
    }
    for name in ["chain", "lines", "split", "zip"] {
        env.remove_filter(name);
    }
}

fn pay(state: &mut State<'_, '_>, args: &[Value], reads: Reads) -> Result<(), Error> {
    match (reads, args) {
        (Reads::Deep, _) => args.iter().try_for_each(|arg| charge_tree(state, arg)),
        (Reads::Format, [template, rest @ ..]) => charge_format(state, template.as_str().unwrap_or_default(), rest),
        (Reads::Count, _) => {
            let count = args.iter().filter_map(Value::as_usize).fold(0, usize::saturating_add);
            charge(state, count.saturating_mul(16))?;
            charge_all(state, args)
        }
        _ => charge_all(state, args),
    }
}

/// What Python's generators are: true, without a length, and empty after the first time. Strings stay.
pub(super) fn generator(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    let value = made(state, value)?;
    if value.kind() == ValueKind::String {
        return Ok(value);
    }
    let items: Vec<Value> = value.try_iter()?.collect();
    Ok(Value::make_one_shot_iterator(items.into_iter()))
}
