//! The built binary, on a small model in a folder of its own.

mod answers;
mod bench;
mod broken;
mod fixture;
mod lock;
mod processor;
mod quantize;
mod text;
mod usage;
