//! The ops a compute backend implements, and the suite that checks them.
#![forbid(unsafe_code)]

mod plan;

pub use plan::{Plan, Sequence};
