//! The CPU backend: quantized kernels on SIMD registers, one source for every instruction set.

mod pool;
mod shared;
mod simd;

pub use simd::Tier;
