//! Writing a file: described in memory, its tensor data streamed.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use indexmap::IndexMap;

use super::cursor::Number;
use super::value::{Value, each_array};
use super::{ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, MAGIC};
use crate::Error;
use crate::blocks::BlockType;

/// A GGUF file (version 3) in the making.
///
/// ```
/// use plimsoll_formats::{blocks, gguf};
///
/// let mut writer = gguf::Writer::new();
/// writer.set("general.architecture", "llama");
/// writer.set("llama.block_count", 1u32);
/// writer.tensor("output_norm.weight", &blocks::F32, &[2], 1f32.to_le_bytes().repeat(2))?;
/// let mut file = Vec::new();
/// writer.write(&mut file)?;
/// assert_eq!(gguf::parse("tiny.gguf", &file)?.tensors[0].shape, [2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Writer<'a> {
    metadata: IndexMap<String, Value>,
    tensors: IndexMap<String, Tensor<'a>>,
}

struct Tensor<'a> {
    block: &'static BlockType,
    shape: Vec<usize>,
    bytes: usize,
    fill: Fill<'a>,
}

/// Writes a tensor's blocks, row by row.
type Fill<'a> = Box<dyn Fn(&mut dyn Write) -> io::Result<()> + 'a>;

impl<'a> Writer<'a> {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key; a later value replaces an earlier one.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.metadata.insert(key.to_owned(), value.into());
    }

    /// Adds a tensor, or replaces the one of that name.
    ///
    /// `shape` is slowest dimension first, as PyTorch has it; `data` its blocks, row by row.
    ///
    /// # Errors
    /// [`Error::Length`] if `data` has not the size that shape and block type ask for.
    pub fn tensor(
        &mut self,
        name: &str,
        block: &'static BlockType,
        shape: &[usize],
        data: impl Into<Cow<'a, [u8]>>,
    ) -> Result<(), Error> {
        let data = data.into();
        let bytes = block.tensor_bytes(shape)?;
        if data.len() != bytes {
            return Err(Error::length(format_args!("data of tensor `{name}` in bytes"), data.len(), bytes));
        }
        self.stream(name, block, shape, move |out| out.write_all(&data))
    }

    /// As [`tensor`](Self::tensor), for data that need not be in memory: `fill` writes the blocks when the file is
    /// written, to a writer that takes exactly as many bytes as the tensor has.
    ///
    /// # Errors
    /// [`Error::Length`] for rows that are not whole blocks.
    pub fn stream(
        &mut self,
        name: &str,
        block: &'static BlockType,
        shape: &[usize],
        fill: impl Fn(&mut dyn Write) -> io::Result<()> + 'a,
    ) -> Result<(), Error> {
        let bytes = block.tensor_bytes(shape)?;
        self.tensors.insert(name.to_owned(), Tensor { block, shape: shape.to_vec(), bytes, fill: Box::new(fill) });
        Ok(())
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What `out` or a tensor's `fill` reports; [`io::ErrorKind::InvalidData`] for a `fill` that writes more or fewer
    /// bytes than its tensor has.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let alignment = match self.metadata.get(ALIGNMENT_KEY) {
            Some(&Value::U32(alignment)) if alignment.is_power_of_two() => u64::from(alignment),
            _ => DEFAULT_ALIGNMENT,
        };
        let header = self.header(alignment);
        out.write_all(&header)?;
        pad(out, header.len() as u64, alignment)?;
        for (name, tensor) in &self.tensors {
            let mut room = Room { out: &mut *out, name, left: tensor.bytes };
            (tensor.fill)(&mut room)?;
            if room.left > 0 {
                return Err(room.error(format_args!("{} of {} bytes written", tensor.bytes - room.left, tensor.bytes)));
            }
            pad(out, tensor.bytes as u64, alignment)?;
        }
        Ok(())
    }

    fn header(&self, alignment: u64) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        3u32.write(&mut out);
        (self.tensors.len() as u64).write(&mut out);
        (self.metadata.len() as u64).write(&mut out);
        for (key, value) in &self.metadata {
            string(&mut out, key.as_bytes());
            (value.kind() as u32).write(&mut out);
            write_value(&mut out, value);
        }
        let mut offset = 0u64;
        for (name, tensor) in &self.tensors {
            string(&mut out, name.as_bytes());
            (tensor.shape.len() as u32).write(&mut out);
            for &dim in tensor.shape.iter().rev() {
                (dim as u64).write(&mut out);
            }
            tensor.block.id.write(&mut out);
            offset.write(&mut out);
            offset += (tensor.bytes as u64).next_multiple_of(alignment);
        }
        out
    }
}

impl fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}, {} bytes", self.block, self.shape, self.bytes)
    }
}

/// The place of a tensor in the file.
struct Room<'a, W> {
    out: &'a mut W,
    name: &'a str,
    left: usize,
}

impl<W> Room<'_, W> {
    fn error(&self, found: impl fmt::Display) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("tensor `{}`: {found}", self.name))
    }
}

impl<W: Write> Write for Room<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            return Err(self.error(format_args!("{} bytes more, with room for {}", bytes.len(), self.left)));
        }
        let written = self.out.write(bytes)?;
        self.left -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn pad(out: &mut impl Write, len: u64, alignment: u64) -> io::Result<()> {
    let zeros = len.next_multiple_of(alignment) - len;
    io::copy(&mut io::Read::take(io::repeat(0), zeros), out).map(|_| ())
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    (bytes.len() as u64).write(out);
    out.extend_from_slice(bytes);
}

/// What a value or an element of an array looks like in the file.
trait Element {
    fn put(&self, out: &mut Vec<u8>);
}

impl<T: Number> Element for T {
    fn put(&self, out: &mut Vec<u8>) {
        self.write(out);
    }
}

impl Element for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Element for Vec<u8> {
    fn put(&self, out: &mut Vec<u8>) {
        string(out, self);
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(x) => x.put(out),
        Value::I8(x) => x.put(out),
        Value::U16(x) => x.put(out),
        Value::I16(x) => x.put(out),
        Value::U32(x) => x.put(out),
        Value::I32(x) => x.put(out),
        Value::F32(x) => x.put(out),
        Value::Bool(x) => x.put(out),
        Value::String(x) => x.put(out),
        Value::U64(x) => x.put(out),
        Value::I64(x) => x.put(out),
        Value::F64(x) => x.put(out),
        Value::Array(array) => {
            (array.kind() as u32).write(out);
            (array.len() as u64).write(out);
            each_array!(array, items => items.iter().for_each(|item| item.put(out)));
        }
    }
}
