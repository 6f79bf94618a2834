//! Local LLM inference with pinned, verified weights.
//!
//! An application names a model of its `models.lock`; [`Engine`] verifies every byte of it and hands out an
//! `Arc<dyn `[`Generate`]`>`. Which family, which container and which device are behind it is no business of the caller.
//!
//! ```no_run
//! use plimsoll::{Engine, Event, Request};
//!
//! fn main() -> plimsoll::Result<()> {
//!     let model = Engine::from_lock("models.lock")?.load("default")?;
//!     for event in model.start(Request::chat().user("What is 12 + 7?").max_tokens(64).seed(7))?.blocking() {
//!         if let Event::Text(text) = event? {
//!             print!("{text}");
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! No network code is linked. The parts are crates of their own, re-exported as modules.
#![forbid(unsafe_code)]

pub mod bench;
mod device;
mod engine;
mod error;
mod gpus;
mod quantize;

pub use device::Device;
pub use engine::{Engine, Loading, Settings, open_unlocked};
pub use error::{Error, Result};
pub use gpus::{GpuInfo, Gpus};
pub use plimsoll_cpu::{KvType, Options as CpuOptions, Tier};
#[cfg(feature = "cuda")]
pub use plimsoll_cuda::gpus::GpuId;
pub use plimsoll_engine::{
    Chat, Event, Exported, FinishReason, Finished, Generate, Generation, Health, ModelInfo, Opened, Options, Progress,
    Prompt, Request, Sampling, Scores, Speculation, Timings, Token, Usage, open_weights,
};
pub use plimsoll_formats::{RECIPES, Recipe};
pub use plimsoll_lock::Verified;

pub use plimsoll_backend as backend;
pub use plimsoll_engine as core;
pub use plimsoll_formats as formats;
pub use plimsoll_lock as lock;
pub use plimsoll_model as model;
pub use plimsoll_text as text;
