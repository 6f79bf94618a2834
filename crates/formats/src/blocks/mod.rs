//! Block types: how rows of numbers are stored, one table for all of them.
//!
//! A row is a whole number of blocks, and rows never share one. Blocks are byte arrays without alignment.

use std::fmt;

use crate::Error;

/// A block type, one row of the table in this module.
pub struct BlockType {
    /// Name as GGUF tools print it, e.g. `Q4_K`.
    pub name: &'static str,
    /// Type id in GGUF files.
    pub id: u32,
    /// Values in a block.
    pub values: usize,
    /// Bytes of a block.
    pub bytes: usize,
}

/// Makes a static for each row, and the table of them all.
macro_rules! table {
    ($($ident:ident $id:literal $values:literal $bytes:literal)*) => {
        $(
            #[doc = concat!(stringify!($ident), ": blocks of ", $values, " values in ", $bytes, " bytes.")]
            pub static $ident: BlockType =
                BlockType { name: stringify!($ident), id: $id, values: $values, bytes: $bytes };
        )*

        /// All block types.
        pub static TABLE: &[&BlockType] = &[$(&$ident),*];
    };
}

table! {
    F32 0 1 4
    F16 1 1 2
    BF16 30 1 2
    Q4_0 2 32 18
    Q4_1 3 32 20
    Q5_0 6 32 22
    Q5_1 7 32 24
    Q8_0 8 32 34
    Q2_K 10 256 84
    Q3_K 11 256 110
    Q4_K 12 256 144
    Q5_K 13 256 176
    Q6_K 14 256 210
    IQ4_NL 20 32 18
    IQ4_XS 23 256 136
    MXFP4 39 32 17
}

/// The type of a GGUF type id.
pub fn by_id(id: u32) -> Option<&'static BlockType> {
    TABLE.iter().copied().find(|block| block.id == id)
}

/// The type of a name as GGUF tools print it.
pub fn by_name(name: &str) -> Option<&'static BlockType> {
    TABLE.iter().copied().find(|block| block.name == name)
}

/// Names and ids of all types, for messages.
pub(crate) fn known() -> String {
    let names: Vec<_> = TABLE.iter().map(|block| format!("{} ({})", block.name, block.id)).collect();
    names.join(", ")
}

impl BlockType {
    /// Bytes of a row of `len` values.
    ///
    /// # Errors
    /// [`Error::Length`] if the row is not a whole number of blocks, or too long for memory.
    pub fn row_bytes(&self, len: usize) -> Result<usize, Error> {
        if !len.is_multiple_of(self.values) {
            return Err(Error::length(format_args!("{self} row"), len, format_args!("a multiple of {}", self.values)));
        }
        (len / self.values)
            .checked_mul(self.bytes)
            .ok_or_else(|| Error::length(format_args!("{self} row"), len, "a length that fits memory"))
    }

    /// Bytes of a tensor, whose last dimension is the row; no dimensions make a scalar.
    ///
    /// # Errors
    /// [`Error::Length`] as for [`row_bytes`](Self::row_bytes).
    pub fn tensor_bytes(&self, shape: &[usize]) -> Result<usize, Error> {
        let (row, rows) = shape.split_last().map_or((1, &[][..]), |(&row, rows)| (row, rows));
        let bytes = self.row_bytes(row)?;
        rows.iter()
            .try_fold(bytes, |bytes, &dim| bytes.checked_mul(dim))
            .ok_or_else(|| Error::length(format_args!("{self} tensor {shape:?}: row"), row, "a size that fits memory"))
    }
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for BlockType {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for BlockType {}
