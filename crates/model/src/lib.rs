//! Model descriptions: mathematics as data.
//!
//! A [`Decoder`] says everything the forward pass needs to know about a model; a family (one file in
//! [`families`]) turns a container's configuration into one, and says what the tensors are called there.
//! Sizes (parameters, bytes of KV cache per token) are derived from the description, never written twice.
#![forbid(unsafe_code)]

mod decoder;

pub use decoder::*;
