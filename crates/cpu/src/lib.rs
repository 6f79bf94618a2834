//! The CPU backend: quantized kernels on SIMD registers, one source for every instruction set.

mod activations;
mod format;
mod matrix;
mod memory;
mod pool;
mod product;
mod shared;
mod simd;

pub use simd::Tier;

/// The backend's name in messages.
const NAME: &str = "cpu";
