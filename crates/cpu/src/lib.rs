//! The CPU backend: quantized kernels on SIMD registers, one source for every instruction set.

mod simd;

pub use simd::Tier;
