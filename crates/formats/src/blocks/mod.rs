//! Block types: how rows of numbers are stored, one table for all of them.
//!
//! A row is a whole number of blocks, and rows never share one. Blocks are byte arrays without alignment.

mod codebook;
mod float;
mod k;
mod linear;
mod q4_k_search;
mod q6_k_search;

use std::fmt;

use half::f16;

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
    decode: Decode,
    encode: Option<Encode>,
}

/// Decodes any number of whole blocks into as many values as they hold.
type Decode = fn(&[u8], &mut [f32]);
/// Encodes whole blocks of values.
type Encode = fn(&[f32], &mut [u8]);

/// Makes a static for each row, and the table of them all.
macro_rules! table {
    ($($name:ident $id:literal $values:literal $bytes:literal $decode:path, $encode:expr;)*) => {
        $(
            #[doc = concat!(stringify!($name), ": blocks of ", $values, " values in ", $bytes, " bytes.")]
            pub static $name: BlockType = BlockType {
                name: stringify!($name),
                id: $id,
                values: $values,
                bytes: $bytes,
                decode: $decode,
                encode: $encode,
            };
        )*

        /// All block types.
        pub static TABLE: &[&BlockType] = &[$(&$name),*];
    };
}

// name, id, values, bytes, decoder, encoder
table! {
    F32    0   1   4   float::decode_f32,       Some(float::encode_f32);
    F16    1   1   2   float::decode_f16,       Some(float::encode_f16);
    BF16   30  1   2   float::decode_bf16,      Some(float::encode_bf16);
    Q4_0   2   32  18  linear::decode_q4_0,     Some(linear::encode_q4_0);
    Q4_1   3   32  20  linear::decode_q4_1,     None;
    Q5_0   6   32  22  linear::decode_q5_0,     None;
    Q5_1   7   32  24  linear::decode_q5_1,     None;
    Q8_0   8   32  34  linear::decode_q8_0,     Some(linear::encode_q8_0);
    Q2_K   10  256 84  k::decode_q2_k,          None;
    Q3_K   11  256 110 k::decode_q3_k,          None;
    Q4_K   12  256 144 k::decode_q4_k,          Some(q4_k_search::encode);
    Q5_K   13  256 176 k::decode_q5_k,          None;
    Q6_K   14  256 210 k::decode_q6_k,          Some(q6_k_search::encode);
    IQ4_NL 20  32  18  codebook::decode_iq4_nl, None;
    IQ4_XS 23  256 136 codebook::decode_iq4_xs, None;
    MXFP4  39  32  17  codebook::decode_mxfp4,  None;
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

/// Names of the types that can be encoded, for messages.
pub(crate) fn encoders() -> String {
    let names: Vec<_> = TABLE.iter().filter(|block| block.encodes()).map(|block| block.name).collect();
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

    /// Decodes a row, or several one after the other.
    ///
    /// # Errors
    /// [`Error::Length`] if `values` is not whole blocks, or `blocks` not as many.
    pub fn decode(&self, blocks: &[u8], values: &mut [f32]) -> Result<(), Error> {
        self.check(blocks.len(), values.len())?;
        (self.decode)(blocks, values);
        Ok(())
    }

    /// Encodes a row, or several one after the other, of finite values.
    ///
    /// # Errors
    /// [`Error::NoEncoder`] for a type that is only decoded; [`Error::Length`] as for [`decode`](Self::decode).
    pub fn encode(&self, values: &[f32], blocks: &mut [u8]) -> Result<(), Error> {
        let encode = self.encode.ok_or(Error::NoEncoder { block: self.name })?;
        self.check(blocks.len(), values.len())?;
        encode(values, blocks);
        Ok(())
    }

    /// Whether [`encode`](Self::encode) is implemented.
    pub fn encodes(&self) -> bool {
        self.encode.is_some()
    }

    fn check(&self, bytes: usize, values: usize) -> Result<(), Error> {
        match self.row_bytes(values)? {
            expected if expected == bytes => Ok(()),
            expected => Err(Error::length(format_args!("bytes of {values} values in {self}"), bytes, expected)),
        }
    }
}

/// Calls `block` on every block of `B` bytes and its `V` values.
fn each_block<const B: usize, const V: usize>(
    blocks: &[u8],
    values: &mut [f32],
    block: impl Fn(&[u8; B], &mut [f32; V]),
) {
    for (bytes, values) in blocks.as_chunks().0.iter().zip(values.as_chunks_mut().0) {
        block(bytes, values);
    }
}

/// Calls `block` on every `V` values and their block of `B` bytes.
fn each_group<const V: usize, const B: usize>(
    values: &[f32],
    blocks: &mut [u8],
    block: impl Fn(&[f32; V], &mut [u8; B]),
) {
    for (values, bytes) in values.as_chunks().0.iter().zip(blocks.as_chunks_mut().0) {
        block(values, bytes);
    }
}

/// The f16 at a constant place of a block.
fn f16_at<const B: usize>(block: &[u8; B], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Stores a value as f16, and gives back what was stored.
fn put_f16<const B: usize>(block: &mut [u8; B], at: usize, value: f32) -> f32 {
    let rounded = f16::from_f32(value);
    block[at..at + 2].copy_from_slice(&rounded.to_le_bytes());
    rounded.to_f32()
}

/// The 4-bit number `i` of a run of 32 in 16 bytes: low nibbles are the first half, high ones the second.
fn nibble(qs: &[u8], i: usize) -> u8 {
    if i < 16 { qs[i] & 15 } else { qs[i - 16] >> 4 }
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
