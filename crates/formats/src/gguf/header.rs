//! The header of one file: counts, keys, tensors, and where the data begins.

use std::collections::HashSet;
use std::ops::Range;

use super::cursor::{Cursor, Field};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, Metadata, TensorInfo, Value, tensors, vocabulary};
use crate::Error;

/// Largest alignment of tensor data (1 MiB).
const MAX_ALIGNMENT: u32 = 1 << 20;
/// Fewest bytes of a key: string length, type, a one-byte value.
const MIN_KEY: u64 = 13;
/// Fewest bytes of a tensor's entry: string length, n_dims, type, offset.
const MIN_TENSOR: u64 = 24;

/// What precedes the tensor data of one file, checked: every tensor lies inside the file and overlaps no other.
#[derive(Clone, Debug)]
pub struct Header {
    /// 2 or 3; the layout is the same.
    pub version: u32,
    /// The keys.
    pub metadata: Metadata,
    /// The tensors in file order. Vocabulary-only files have none.
    pub tensors: Vec<TensorInfo>,
    /// Offset of the data section in the file. Past the end of a file without tensors, which may end unaligned.
    pub data_start: u64,
    /// Alignment of tensors in bytes, a power of two.
    pub alignment: u64,
}

impl Header {
    /// Where a tensor of this header lies in the file.
    ///
    /// [`parse`] has checked that the range is inside the file, so that it fits `usize`.
    pub fn range(&self, tensor: &TensorInfo) -> Range<usize> {
        let start = self.data_start + tensor.offset;
        start as usize..(start + tensor.bytes) as usize
    }
}

/// Reads and checks the header of a whole file's bytes.
///
/// `file_name` is for messages.
///
/// # Errors
/// [`Error::Unsupported`] for version 1, big-endian files and block types this crate does not know;
/// [`Error::Malformed`] for everything that breaks the format's rules.
pub fn parse(file_name: &str, bytes: &[u8]) -> Result<Header, Error> {
    let mut cursor = Cursor::new(file_name, bytes);
    let version = version(&mut cursor)?;
    let (tensor_count, key_count) = counts(&mut cursor)?;
    let metadata = keys(&mut cursor, key_count)?;
    let alignment = alignment(&metadata)?;
    vocabulary::check(&metadata)?;
    let tensors = tensor_list(&mut cursor, tensor_count)?;
    // The header is inside the file and the alignment at most 1 MiB: this cannot overflow.
    let data_start = (cursor.position() as u64).next_multiple_of(alignment);
    if !tensors.is_empty() {
        let data = (bytes.len() as u64).checked_sub(data_start).ok_or_else(|| {
            cursor.malformed(
                Field::Header("tensor data"),
                format_args!("a file of {} bytes", bytes.len()),
                format_args!("it at {data_start}"),
            )
        })?;
        tensors::check_layout(file_name, &tensors, alignment, data)?;
    }
    Ok(Header { version, metadata, tensors, data_start, alignment })
}

fn version(cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    let field = Field::Header("magic");
    let magic = cursor.take(MAGIC.len(), field)?;
    if magic != MAGIC {
        return Err(cursor.malformed(field, format_args!("`{}`", magic.escape_ascii()), "`GGUF`"));
    }
    let field = Field::Header("version");
    let version: u32 = cursor.number(field)?;
    match version {
        2 | 3 => Ok(version),
        _ if version & 0xFFFF == 0 => {
            let found = format_args!("{} in big-endian byte order", version.swap_bytes());
            Err(Error::unsupported(cursor.file, field, found, "a little-endian file"))
        }
        _ => Err(Error::unsupported(cursor.file, field, version, "2 or 3")),
    }
}

/// Counts of tensors and keys, whose entries fit the rest of the file.
fn counts(cursor: &mut Cursor<'_>) -> Result<(u64, u64), Error> {
    let tensors: u64 = cursor.number(Field::Header("tensor count"))?;
    let keys: u64 = cursor.number(Field::Header("key count"))?;
    let rest = cursor.remaining() as u64;
    let least = (tensors.checked_mul(MIN_TENSOR)).and_then(|bytes| bytes.checked_add(keys.checked_mul(MIN_KEY)?));
    match least {
        Some(least) if least <= rest => Ok((tensors, keys)),
        _ => Err(cursor.malformed(
            Field::Header("tensor count and key count"),
            format_args!("{tensors} and {keys}"),
            format_args!("counts whose entries fit the remaining {rest} bytes"),
        )),
    }
}

fn keys(cursor: &mut Cursor<'_>, count: u64) -> Result<Metadata, Error> {
    let mut metadata = Metadata::new(cursor.file);
    for index in 0..count {
        let key = cursor.text(Field::KeyName(index))?;
        let value = cursor.value(Field::Key(key))?;
        if !metadata.insert(key, value) {
            return Err(cursor.malformed(Field::Key(key), "it twice", "unique keys"));
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &Metadata) -> Result<u64, Error> {
    let malformed = |found: String| {
        let expected = format!("a u32 power of two up to {MAX_ALIGNMENT}");
        Error::malformed(metadata.file(), format_args!("key `{ALIGNMENT_KEY}`"), found, expected)
    };
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(alignment)) if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT => {
            Ok(alignment.into())
        }
        Some(Value::U32(alignment)) => Err(malformed(alignment.to_string())),
        Some(other) => Err(malformed(other.type_name())),
    }
}

fn tensor_list(cursor: &mut Cursor<'_>, count: u64) -> Result<Vec<TensorInfo>, Error> {
    let mut seen = HashSet::new();
    let mut tensors = Vec::new();
    for index in 0..count {
        let tensor = TensorInfo::read(cursor, index)?;
        if !seen.insert(tensor.name.clone()) {
            return Err(cursor.malformed(
                Field::TensorName(index),
                format_args!("`{}` twice", tensor.name),
                "unique names",
            ));
        }
        tensors.push(tensor);
    }
    Ok(tensors)
}
