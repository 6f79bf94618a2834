//! Arguments of filters and methods, by position or by name as in Python.

use minijinja::value::{Kwargs, Rest, ValueOrKwargs};
use minijinja::{Error, ErrorKind, Value};

/// All arguments of a filter or function, named ones last.
pub(super) type Given = Rest<ValueOrKwargs>;

/// Arguments that are taken one after the other.
pub(super) struct Args {
    positional: std::vec::IntoIter<Value>,
    kwargs: Kwargs,
}

impl Args {
    pub(super) fn new(args: &[Value]) -> Result<Self, Error> {
        let (positional, kwargs) = split(args)?;
        let positional: Vec<Value> = positional.to_vec();
        Ok(Self { positional: positional.into_iter(), kwargs })
    }

    pub(super) fn of(given: Given) -> Result<Self, Error> {
        Self::new(&given.into_values())
    }

    /// The next argument.
    pub(super) fn next(&mut self, name: &str) -> Result<Option<Value>, Error> {
        match self.positional.next() {
            Some(value) => Ok(Some(value)),
            None => self.kwargs.get(name),
        }
    }

    /// The next argument; an explicit `None` counts as absent.
    pub(super) fn given(&mut self, name: &str) -> Result<Option<Value>, Error> {
        Ok(self.next(name)?.filter(|value| !value.is_none()))
    }

    /// The next argument, which must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<Value, Error> {
        self.next(name)?.ok_or_else(|| type_error(format!("missing argument `{name}`")))
    }

    /// The next argument, a string.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        let value = self.given(name)?;
        value.map(|value| text(&value, name)).transpose()
    }

    /// The next argument, an integer.
    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>, Error> {
        self.given(name)?.map(i64::try_from).transpose()
    }

    /// Nothing may be left.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        if self.positional.next().is_some() {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        self.kwargs.assert_all_used()
    }
}

/// Positional and named arguments.
pub(super) fn split(args: &[Value]) -> Result<(&[Value], Kwargs), Error> {
    match args.split_last() {
        Some((kwargs, positional)) if kwargs.is_kwargs() => Ok((positional, Kwargs::try_from(kwargs.clone())?)),
        _ => Ok((args, std::iter::empty::<(&str, Value)>().collect())),
    }
}

/// A string, nothing else.
pub(super) fn text(value: &Value, name: &str) -> Result<String, Error> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| type_error(format!("{name} must be a string, not {}", value.kind())))
}

/// What Python calls a `TypeError` or `ValueError`.
pub(super) fn type_error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}
