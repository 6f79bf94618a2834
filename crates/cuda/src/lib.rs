//! CUDA backend: own kernels, launched by the driver alone.
//!
//! The kernels are in `kernels/`. What launches them asks a [`Driver`], so that the same code runs on a GPU and, in tests, on a
//! simulation of one.

mod append;
mod attention;
mod backend;
mod batch;
mod cache;
mod device;
mod driver;
mod fast;
pub mod gpu;
pub mod gpus;
mod library;
mod need;
mod pack;
mod params;
mod product;
mod rounded;
#[cfg(test)]
mod table;
mod tile;
mod top;
mod weights;
mod work;

pub use backend::Cuda;
pub use cache::KvType;
pub use driver::{Driver, Gemm, Launch};

/// In messages.
const NAME: &str = "CUDA";
