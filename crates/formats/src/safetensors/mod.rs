//! Safetensors: a JSON header of names, types, shapes and offsets, then the data; one file, or shards and their index.

mod header;
mod index;
mod json;

pub use header::{TensorInfo, parse};
pub use index::{INDEX, Index};
