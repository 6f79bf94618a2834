//! Weight files: GGUF and safetensors readers, and the block formats of quantized tensors.
//!
//! Everything here reads foreign bytes: a bad file gives an [`Error`] that names the file, the field, what was found
//! and what was expected, never a panic and never an allocation of a size that was not checked first.
#![deny(unsafe_code)]

pub mod blocks;
mod error;
pub mod gguf;
mod map;
mod quantize;
mod recipe;
pub mod safetensors;
mod view;
mod weights;

pub use error::Error;
pub use map::Map;
pub use plimsoll_model::Container;
pub use quantize::quantize;
pub use recipe::{RECIPES, Recipe};
pub use view::TensorView;
pub use weights::{NamedFile, Weights};
