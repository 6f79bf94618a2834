//! Trains the demo models.
//!
//! The backward pass is written by hand over one flat vector of parameters: candle's graph, which allocates every
//! intermediate and runs element-wise operations on one thread, reached a fourth of the speed on the same machine.

#[cfg(test)]
mod agreement;
pub mod attention;
pub mod chat;
pub mod checkpoint;
pub mod data;
pub mod export;
#[cfg(test)]
mod gradients;
pub mod layout;
pub mod matmul;
pub mod net;
pub mod ops;
pub mod optimizer;
pub mod recipe;
pub mod run;
pub mod tokens;
pub mod vocabulary;
pub mod warm;
