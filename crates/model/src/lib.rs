//! Model descriptions: mathematics as data.
//!
//! A [`Decoder`] says everything the forward pass needs to know about a model; a family (one file in
//! `families/`, one line in [`FAMILIES`]) turns a container's configuration into one. Tensors are named logically
//! ([`TensorId`]); [`Names`] says what a container calls them. Sizes (parameters, bytes of KV cache per token) are
//! derived from the description, never written twice.
#![forbid(unsafe_code)]

mod check;
mod config;
mod decoder;
mod error;
mod families;
mod gguf;
mod gguf_write;
mod names;
mod rope;
mod tensors;

pub use config::Config;
pub use decoder::*;
pub use error::Error;
pub use families::{FAMILIES, Family};
pub use gguf::Keys;
pub use gguf_write::KeyValue;
pub use names::{Container, Names, Place};
pub use rope::{RopeTable, Ropes};
pub use tensors::{Part, TensorId};
