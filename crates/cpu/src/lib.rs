//! The CPU backend: quantized kernels on SIMD registers, one source for every instruction set.

mod activations;
mod affinity;
mod attention;
mod backend;
mod bandwidth;
mod batch;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod cache;
mod element;
mod format;
mod matrix;
mod memory;
mod norm;
mod options;
mod pool;
mod product;
mod rope;
mod shared;
mod simd;
mod weights;

pub use backend::Cpu;
pub use bandwidth::{ReadProbe, read_bandwidth};
pub use batch::Batch;
pub use cache::{Cache, KvType};
pub use options::Options;
pub use simd::Tier;
pub use weights::Weights;

/// The backend's name in messages.
const NAME: &str = "cpu";
