//! `models.toml`, `models.lock` and verified weights.
//!
//! People write `models.toml`: which models an application wants, where they lie, and under which licence.
//! [`generate`] turns it into `models.lock`: size and SHA-256 of every file, and hashes of the behaviour (template, token
//! ids, generation defaults). [`Project::verify`] turns a name into [`Verified`]: open files whose bytes were hashed
//! through the very descriptors that it hands on. The engine takes nothing else.
//!
//! A path is where bytes lie, a SHA-256 is what they are: whoever can write a model's files can stop it from loading,
//! but cannot make it load as something else.
//!
//! | to change | look in |
//! |---|---|
//! | what people may write | `manifest.rs` |
//! | what a lock records, and how its text is checked | `lockfile.rs` |
//! | which recipes of quantization may be named | `load.rs` |
//! | which files belong to a model | `files.rs` |
//! | how a file is opened | `open.rs` |
//! | how bytes are hashed on all cores | `hashing.rs` |
//! | what a person is told about a change | `changes.rs` |
#![forbid(unsafe_code)]

mod changes;
mod digest;
mod error;
mod files;
mod generate;
mod glob;
mod hashing;
mod load;
mod lockfile;
mod manifest;
mod names;
mod open;
mod project;
mod verified;

pub use changes::{Change, ChangeKind};
pub use digest::{Digest, Sha256, digest_of_files};
pub use error::{Error, Result};
pub use generate::{Described, generate};
pub use glob::Glob;
pub use hashing::Progress;
pub use load::{Load, Quantize, RecipeId};
pub use lockfile::{Behaviour, CHUNK_SIZE, License, Lock, LockedFile, LockedModel, MAX_LOCK_BYTES, Source};
pub use manifest::{Expression, MAX_MANIFEST_BYTES, Manifest, ManifestModel};
pub use names::{FilePath, Name};
pub use project::{Project, find_upwards};
pub use verified::{Verified, VerifiedFile};
