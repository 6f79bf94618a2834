//! The CPU backend: quantized kernels on SIMD registers, one source for every instruction set.

mod activations;
mod attention;
mod batch;
mod cache;
mod element;
mod bandwidth;
mod format;
mod matrix;
mod memory;
mod pool;
mod product;
mod rope;
mod shared;
mod simd;

pub use cache::KvType;
pub use bandwidth::{ReadProbe, read_bandwidth};
pub use simd::Tier;

/// The backend's name in messages.
const NAME: &str = "cpu";
