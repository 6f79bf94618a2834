//! GGUF, versions 2 and 3: metadata and tensors in one file, or split over several.
//!
//! Everything is little-endian, without padding up to the tensor data:
//!
//! ```text
//! magic "GGUF" | u32 version | u64 tensors | u64 keys
//! keys:    string key | u32 type | value
//! tensors: string name | u32 n_dims | u64 ne[n_dims] | u32 type | u64 offset
//! zeros up to the alignment | tensor data, each tensor aligned
//! ```
//!
//! A string is a u64 length and its bytes. The reader trusts no number before it is checked against what is there.

mod cursor;
mod header;
mod metadata;
mod split;
mod tensors;
mod value;
mod vocabulary;
mod writer;

pub use header::{Header, parse};
pub use metadata::Metadata;
pub(crate) use split::order;
pub use tensors::TensorInfo;
pub use value::{Array, Value};
pub use writer::Writer;

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
const ALIGNMENT_KEY: &str = "general.alignment";
