//! Entries of the tensor list and their layout in the data section.

use super::cursor::{Cursor, Field};
use crate::Error;
use crate::blocks::{self, BlockType};

/// Most dimensions of a tensor.
const MAX_DIMS: u32 = 4;
/// Longest name in bytes (ggml keeps 64 with a NUL).
const MAX_NAME: usize = 63;

/// A tensor's entry in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, 1 to 63 bytes.
    pub name: String,
    /// Type of its blocks.
    pub block: &'static BlockType,
    /// Slowest dimension first, as PyTorch has it; the file stores the reverse. The last one is the row length, a
    /// multiple of the block's values. Writers differ in whether they keep dimensions of 1.
    pub shape: Vec<u64>,
    /// Offset in the data section, in bytes.
    pub offset: u64,
    /// Size in bytes, without padding.
    pub bytes: u64,
}

impl TensorInfo {
    pub(super) fn read(cursor: &mut Cursor<'_>, index: u64) -> Result<Self, Error> {
        let field = Field::TensorName(index);
        let name = cursor.text(field)?;
        if name.is_empty() || name.len() > MAX_NAME {
            let expected = format_args!("1 to {MAX_NAME} bytes");
            return Err(cursor.malformed(field, format_args!("`{name}` of {} bytes", name.len()), expected));
        }
        let shape = shape(cursor, name)?;
        let field = Field::Tensor(name, "type");
        let id: u32 = cursor.number(field)?;
        let block = blocks::by_id(id).ok_or_else(|| {
            Error::unsupported(
                cursor.file,
                field,
                format_args!("type id {id}"),
                format_args!("one of {}", blocks::known()),
            )
        })?;
        let bytes = size(cursor, name, block, &shape)?;
        let offset = cursor.number(Field::Tensor(name, "offset"))?;
        Ok(Self { name: name.to_owned(), block, shape, offset, bytes })
    }
}

fn shape(cursor: &mut Cursor<'_>, name: &str) -> Result<Vec<u64>, Error> {
    let field = Field::Tensor(name, "n_dims");
    let dims: u32 = cursor.number(field)?;
    if dims > MAX_DIMS {
        return Err(cursor.malformed(field, dims, format_args!("at most {MAX_DIMS}")));
    }
    let mut shape = (0..dims).map(|_| cursor.number(Field::Tensor(name, "shape"))).collect::<Result<Vec<u64>, _>>()?;
    shape.reverse();
    Ok(shape)
}

/// Bytes of a tensor: whole blocks in every row.
fn size(cursor: &Cursor<'_>, name: &str, block: &BlockType, shape: &[u64]) -> Result<u64, Error> {
    let field = Field::Tensor(name, "shape");
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(block.values as u64) {
        let expected = format_args!("rows of a multiple of {} values for {}", block.values, block.name);
        return Err(cursor.malformed(field, format_args!("{shape:?}"), expected));
    }
    let count = shape.iter().try_fold(1u64, |count, &dim| count.checked_mul(dim));
    count
        .and_then(|count| (count / block.values as u64).checked_mul(block.bytes as u64))
        .ok_or_else(|| cursor.malformed(field, format_args!("{shape:?}"), "a size below 2^64 bytes"))
}

/// Every tensor is aligned, inside the data section of `len` bytes, and overlaps no other. Gaps are allowed, and the
/// padding after the last tensor may be missing.
pub(super) fn check_layout(file: &str, tensors: &[TensorInfo], alignment: u64, len: u64) -> Result<(), Error> {
    for tensor in tensors {
        let field = Field::Tensor(&tensor.name, "offset");
        if !tensor.offset.is_multiple_of(alignment) {
            return Err(Error::malformed(file, field, tensor.offset, format_args!("a multiple of {alignment}")));
        }
        if tensor.offset.checked_add(tensor.bytes).is_none_or(|end| end > len) {
            let found =
                format_args!("{} bytes at {} ({} {:?})", tensor.bytes, tensor.offset, tensor.block, tensor.shape);
            return Err(Error::malformed(
                file,
                field,
                found,
                format_args!("an end within the {len} bytes of tensor data"),
            ));
        }
    }
    let mut sorted: Vec<_> = tensors.iter().filter(|tensor| tensor.bytes > 0).collect();
    sorted.sort_by_key(|tensor| tensor.offset);
    for pair in sorted.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        let end = before.offset + before.bytes;
        if after.offset < end {
            let expected = format_args!("at least {end}, the end of tensor `{}`", before.name);
            return Err(Error::malformed(file, Field::Tensor(&after.name, "offset"), after.offset, expected));
        }
    }
    Ok(())
}
