//! Weight files: GGUF and safetensors readers, quantized block formats.
#![deny(unsafe_code)]

mod source;

pub use source::{TensorSource, TensorView};
