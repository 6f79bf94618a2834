//! The ops a compute backend implements, and the suite that checks them.
//!
//! A backend implements [`Backend`]: a few coarse ops on its own buffers. Callers use [`Model`], which checks every
//! shape and index first, so that a backend may rely on them. Feature `suite` adds the naive definition of
//! every op and the cases that every backend must pass against it.
#![forbid(unsafe_code)]

mod backend;
mod error;
mod memory;
mod model;
mod plan;
mod source;
mod split;
mod top;

#[cfg(feature = "suite")]
pub mod naive;
#[cfg(feature = "suite")]
pub mod suite;

pub use backend::{Backend, Half, Projection};
pub use error::Error;
pub use memory::{Fit, Memory, Need, Room};
pub use model::{Batch, Buffer, Cache, Model};
pub use plan::{CacheShape, Plan, Sequence};
pub use source::TensorSource;
pub use split::{Split, SplitBatch, SplitBuffer, SplitModel};
pub use top::{Draw, Top};
