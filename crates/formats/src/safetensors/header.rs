//! The header of one file.
//!
//! Read here rather than with the `safetensors` crate, whose checks overflow on lying offsets when overflow is
//! checked, which keeps the last of two tensors of one name, and whose messages name neither field nor numbers.

use std::ops::Range;

use serde::Deserialize;

use super::json;
use crate::Error;
use crate::blocks::{self, BlockType};

/// Longest header in bytes (100 MB, as in the reference implementation).
const MAX_HEADER: u64 = 100_000_000;
/// Bytes of the header's length.
const LENGTH: u64 = 8;
/// The one key of the header that is no tensor.
const METADATA: &str = "__metadata__";
/// Data types, and the block type of their rows.
const DTYPES: [(&str, &BlockType); 3] = [("F32", &blocks::F32), ("F16", &blocks::F16), ("BF16", &blocks::BF16)];

/// A tensor's entry in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// F32, F16 or BF16.
    pub block: &'static BlockType,
    /// Slowest dimension first.
    pub shape: Vec<usize>,
    /// Where it lies in the file.
    pub range: Range<usize>,
}

/// What the JSON says of a tensor.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// Reads and checks the header of a whole file's bytes; tensors come in the order of their data.
///
/// `file_name` is for messages.
///
/// # Errors
/// [`Error::Unsupported`] for a data type other than F32, F16 and BF16; [`Error::Malformed`] if the header is not what
/// the format demands, or the tensors do not fill the data section without gap or overlap.
pub fn parse(file_name: &str, bytes: &[u8]) -> Result<Vec<TensorInfo>, Error> {
    let (json, data_start) = header(file_name, bytes)?;
    let mut entries = json::read(json, json::Entries::<Entry>::except(METADATA))
        .map_err(|error| Error::malformed(file_name, "header", error, "a JSON object of tensors"))?;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    place(file_name, entries, data_start, bytes.len() as u64)
}

/// The JSON, and the offset of the data behind it.
fn header<'a>(file: &str, bytes: &'a [u8]) -> Result<(&'a [u8], u64), Error> {
    let field = "header length";
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(Error::malformed(file, field, format_args!("{} bytes", bytes.len()), "at least 8"));
    };
    let length = u64::from_le_bytes(*length);
    let limit = MAX_HEADER.min(rest.len() as u64);
    if length > limit {
        let expected = format_args!("at most {limit} (the rest of the file, or 100 MB)");
        return Err(Error::malformed(file, field, length, expected));
    }
    Ok((&rest[..length as usize], LENGTH + length))
}

/// Lays the tensors one after the other over the data section, which they must fill.
fn place(file: &str, entries: Vec<(String, Entry)>, start: u64, end: u64) -> Result<Vec<TensorInfo>, Error> {
    let data = end - start;
    let mut at = 0;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let field = tensor_field(&name);
        let (from, to) = entry.data_offsets;
        let (block, bytes) = size(file, &field, &entry)?;
        if from != at || from.checked_add(bytes) != Some(to) || to > data {
            let expected = format_args!("[{at}, {at} + {bytes}] within {data} bytes of data");
            let found = format_args!("[{from}, {to}]");
            return Err(Error::malformed(file, format_args!("{field}: data_offsets"), found, expected));
        }
        at = to;
        let range = (start + from) as usize..(start + to) as usize;
        tensors.push(TensorInfo { name, block, shape: entry.shape, range });
    }
    if at != data {
        let expected = format_args!("the {at} of all tensors");
        return Err(Error::malformed(file, "data", format_args!("{data} bytes"), expected));
    }
    Ok(tensors)
}

fn size(file: &str, field: &str, entry: &Entry) -> Result<(&'static BlockType, u64), Error> {
    let Some(&(_, block)) = DTYPES.iter().find(|(name, _)| *name == entry.dtype) else {
        let expected = "F32, F16 or BF16";
        return Err(Error::unsupported(file, format_args!("{field}: dtype"), &entry.dtype, expected));
    };
    let bytes = block.tensor_bytes(&entry.shape).map_err(|_| {
        let found = format_args!("{:?}", entry.shape);
        Error::malformed(file, format_args!("{field}: shape"), found, "a size that fits memory")
    })?;
    Ok((block, bytes as u64))
}

fn tensor_field(name: &str) -> String {
    format!("tensor `{name}`")
}
