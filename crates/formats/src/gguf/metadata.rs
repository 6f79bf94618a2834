//! The key-value section, with typed access.

use indexmap::IndexMap;

use super::value::{Array, Value};
use crate::Error;

/// The keys of a file in their order.
///
/// The typed accessors give `Ok(None)` for an absent key and an error naming file and key for one of another type.
/// Writers disagree on integer widths, so [`int`](Self::int) and [`ints`](Self::ints) take any that fits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    file: String,
    entries: IndexMap<String, Value>,
}

impl Metadata {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), entries: IndexMap::new() }
    }

    /// False if the key was there already.
    pub(super) fn insert(&mut self, key: &str, value: Value) -> bool {
        self.entries.insert(key.to_owned(), value).is_none()
    }

    /// Name of the file the keys come from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// All keys in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An integer of any type, if it fits.
    pub fn int(&self, key: &str) -> Result<Option<i64>, Error> {
        self.read(key, "an integer", |value| match *value {
            Value::U8(x) => Some(x.into()),
            Value::I8(x) => Some(x.into()),
            Value::U16(x) => Some(x.into()),
            Value::I16(x) => Some(x.into()),
            Value::U32(x) => Some(x.into()),
            Value::I32(x) => Some(x.into()),
            Value::I64(x) => Some(x),
            Value::U64(x) => i64::try_from(x).ok(),
            _ => None,
        })
    }

    /// An f32, or an f64 rounded to one.
    pub fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        self.read(key, "a float", |value| match *value {
            Value::F32(x) => Some(x),
            Value::F64(x) => Some(x as f32),
            _ => None,
        })
    }

    /// A bool.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.read(key, "a bool", |value| match *value {
            Value::Bool(x) => Some(x),
            _ => None,
        })
    }

    /// A string that is UTF-8.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.read(key, "a string of UTF-8", |value| match value {
            Value::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
    }

    /// A string of any bytes.
    pub fn bytes(&self, key: &str) -> Result<Option<&[u8]>, Error> {
        self.read(key, "a string", |value| match value {
            Value::String(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// An array of strings of any bytes.
    pub fn strings(&self, key: &str) -> Result<Option<&[Vec<u8>]>, Error> {
        self.read(key, "an array of strings", |value| match value {
            Value::Array(Array::String(strings)) => Some(strings.as_slice()),
            _ => None,
        })
    }

    /// An array of integers of any type, all of which fit; bools count as 0 and 1.
    pub fn ints(&self, key: &str) -> Result<Option<Vec<i64>>, Error> {
        self.read(key, "an array of integers", |value| match value {
            Value::Array(array) => integers(array),
            _ => None,
        })
    }

    /// An array of floats; integers are converted, as some writers store whole scores so.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, Error> {
        self.read(key, "an array of floats", |value| match value {
            Value::Array(Array::F32(values)) => Some(values.clone()),
            Value::Array(Array::F64(values)) => Some(values.iter().map(|&x| x as f32).collect()),
            Value::Array(array) => Some(integers(array)?.into_iter().map(|x| x as f32).collect()),
            _ => None,
        })
    }

    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(Error::malformed(&self.file, format_args!("key `{key}`"), value.type_name(), expected)),
        }
    }
}

fn integers(array: &Array) -> Option<Vec<i64>> {
    fn widen<T: Copy + Into<i64>>(values: &[T]) -> Vec<i64> {
        values.iter().map(|&x| x.into()).collect()
    }
    match array {
        Array::U8(values) => Some(widen(values)),
        Array::I8(values) => Some(widen(values)),
        Array::U16(values) => Some(widen(values)),
        Array::I16(values) => Some(widen(values)),
        Array::U32(values) => Some(widen(values)),
        Array::I32(values) => Some(widen(values)),
        Array::Bool(values) => Some(widen(values)),
        Array::I64(values) => Some(values.clone()),
        Array::U64(values) => values.iter().map(|&x| i64::try_from(x).ok()).collect(),
        Array::F32(_) | Array::F64(_) | Array::String(_) => None,
    }
}
