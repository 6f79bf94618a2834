//! A bounds-checked cursor over the header: nothing is allocated before its bytes are known to be there.

use std::fmt;

use super::value::{Array, Kind, Value};
use crate::Error;

/// Longest string, in bytes (16 MiB).
const MAX_STRING: usize = 16 << 20;
/// Most elements of an array (64 Mi).
const MAX_ARRAY: usize = 64 << 20;

/// What is being read, for messages.
#[derive(Clone, Copy)]
pub(super) enum Field<'a> {
    Header(&'static str),
    KeyName(u64),
    Key(&'a str),
    TensorName(u64),
    Tensor(&'a str, &'static str),
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "{name}"),
            Self::KeyName(index) => write!(f, "name of key {index}"),
            Self::Key(key) => write!(f, "key `{key}`"),
            Self::TensorName(index) => write!(f, "name of tensor {index}"),
            Self::Tensor(name, part) => write!(f, "{part} of tensor `{name}`"),
        }
    }
}

/// A fixed-size number, little-endian in the file.
pub(super) trait Number: Sized + Copy {
    const SIZE: usize;
    fn read(bytes: &[u8]) -> Option<Self>;
    fn write(self, out: &mut Vec<u8>);
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            const SIZE: usize = size_of::<$type>();
            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
number!(u8, i8, u16, i16, u32, i32, f32, u64, i64, f64);

/// Reads forward through the bytes of one file.
pub(super) struct Cursor<'a> {
    pub(super) file: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        Self { file, bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Bytes from here to the end of the file.
    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn malformed(&self, field: Field<'_>, found: impl fmt::Display, expected: impl fmt::Display) -> Error {
        Error::malformed(self.file, field, found, expected)
    }

    pub(super) fn take(&mut self, len: usize, field: Field<'_>) -> Result<&'a [u8], Error> {
        let rest = &self.bytes[self.at..];
        match rest.get(..len) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(self.malformed(
                field,
                format_args!("{} bytes up to the end of the file", rest.len()),
                format_args!("{len} bytes at offset {}", self.at),
            )),
        }
    }

    pub(super) fn number<T: Number>(&mut self, field: Field<'_>) -> Result<T, Error> {
        let bytes = self.take(T::SIZE, field)?;
        T::read(bytes).ok_or_else(|| self.malformed(field, bytes.len(), T::SIZE))
    }

    pub(super) fn string(&mut self, field: Field<'_>) -> Result<&'a [u8], Error> {
        let len: u64 = self.number(field)?;
        let limit = self.remaining().min(MAX_STRING);
        match usize::try_from(len) {
            Ok(len) if len <= limit => self.take(len, field),
            _ => Err(self.malformed(
                field,
                format_args!("a string of {len} bytes"),
                format_args!("at most {limit} (the rest of the file, or 16 MiB)"),
            )),
        }
    }

    /// A string that must be UTF-8.
    pub(super) fn text(&mut self, field: Field<'_>) -> Result<&'a str, Error> {
        let bytes = self.string(field)?;
        std::str::from_utf8(bytes)
            .map_err(|_| self.malformed(field, format_args!("`{}`", bytes.escape_ascii()), "UTF-8 text"))
    }

    fn kind(&mut self, field: Field<'_>) -> Result<Kind, Error> {
        let id: u32 = self.number(field)?;
        Kind::from_id(id).ok_or_else(|| self.malformed(field, format_args!("value type {id}"), "a type from 0 to 12"))
    }

    fn bool(&mut self, field: Field<'_>) -> Result<bool, Error> {
        match self.number::<u8>(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.malformed(field, format_args!("a bool of value {other}"), "0 or 1")),
        }
    }

    /// A type id and the value it announces.
    pub(super) fn value(&mut self, field: Field<'_>) -> Result<Value, Error> {
        Ok(match self.kind(field)? {
            Kind::U8 => Value::U8(self.number(field)?),
            Kind::I8 => Value::I8(self.number(field)?),
            Kind::U16 => Value::U16(self.number(field)?),
            Kind::I16 => Value::I16(self.number(field)?),
            Kind::U32 => Value::U32(self.number(field)?),
            Kind::I32 => Value::I32(self.number(field)?),
            Kind::F32 => Value::F32(self.number(field)?),
            Kind::Bool => Value::Bool(self.bool(field)?),
            Kind::String => Value::String(self.string(field)?.to_vec()),
            Kind::Array => Value::Array(self.array(field)?),
            Kind::U64 => Value::U64(self.number(field)?),
            Kind::I64 => Value::I64(self.number(field)?),
            Kind::F64 => Value::F64(self.number(field)?),
        })
    }

    fn array(&mut self, field: Field<'_>) -> Result<Array, Error> {
        let kind = self.kind(field)?;
        if kind == Kind::Array {
            return Err(Error::unsupported(self.file, field, "an array of arrays", "an array of scalars or strings"));
        }
        let count: u64 = self.number(field)?;
        let limit = (self.remaining() / kind.min_size()).min(MAX_ARRAY);
        let count = usize::try_from(count).ok().filter(|&count| count <= limit).ok_or_else(|| {
            self.malformed(
                field,
                format_args!("an array of {count} elements"),
                format_args!("at most {limit} (what the rest of the file holds, or 64 Mi)"),
            )
        })?;
        Ok(match kind {
            Kind::U8 => Array::U8(self.numbers(count, field)?),
            Kind::I8 => Array::I8(self.numbers(count, field)?),
            Kind::U16 => Array::U16(self.numbers(count, field)?),
            Kind::I16 => Array::I16(self.numbers(count, field)?),
            Kind::U32 => Array::U32(self.numbers(count, field)?),
            Kind::I32 => Array::I32(self.numbers(count, field)?),
            Kind::F32 => Array::F32(self.numbers(count, field)?),
            Kind::Bool => Array::Bool((0..count).map(|_| self.bool(field)).collect::<Result<_, _>>()?),
            Kind::U64 => Array::U64(self.numbers(count, field)?),
            Kind::I64 => Array::I64(self.numbers(count, field)?),
            Kind::F64 => Array::F64(self.numbers(count, field)?),
            Kind::String | Kind::Array => {
                Array::String((0..count).map(|_| Ok(self.string(field)?.to_vec())).collect::<Result<_, Error>>()?)
            }
        })
    }

    /// `count` has been checked against the rest of the file.
    fn numbers<T: Number>(&mut self, count: usize, field: Field<'_>) -> Result<Vec<T>, Error> {
        (0..count).map(|_| self.number(field)).collect()
    }
}
