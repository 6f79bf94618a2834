//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::{HashMap, HashSet};

use serde::de::{DeserializeSeed, Deserializer};

use super::TensorInfo;
use super::json;
use crate::Error;

/// Name of the index file.
pub const INDEX: &str = "model.safetensors.index.json";

/// The index of a sharded checkpoint.
#[derive(Debug)]
pub struct Index {
    /// Tensor to shard.
    weight_map: HashMap<String, String>,
}

#[derive(serde::Deserialize)]
struct Document {
    #[serde(deserialize_with = "unique")]
    weight_map: Vec<(String, String)>,
}

fn unique<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    json::Entries::except("").deserialize(deserializer)
}

impl Index {
    /// Reads an index; its shards must be plain file names.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not JSON of the right form, or names a path.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |error| Error::malformed(INDEX, "index", error, "a JSON object with a weight_map of strings");
        let document: Document = serde_json::from_slice(bytes).map_err(malformed)?;
        let entries = document.weight_map;
        if entries.is_empty() {
            return Err(Error::malformed(INDEX, "weight_map", "no tensors", "at least one"));
        }
        if let Some((tensor, shard)) = entries.iter().find(|(_, shard)| !is_plain(shard)) {
            let field = format_args!("weight_map of tensor `{tensor}`");
            return Err(Error::malformed(INDEX, field, format_args!("`{shard}`"), "a plain *.safetensors file name"));
        }
        Ok(Self { weight_map: entries.into_iter().collect() })
    }

    /// The shards, each once, in the order of their names.
    pub fn shards(&self) -> Vec<&str> {
        let mut shards: Vec<_> = self.weight_map.values().map(String::as_str).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// Checks that the shards (with their tensors) hold exactly the tensors the index says, each where it says.
    ///
    /// # Errors
    /// [`Error::Malformed`] for the first tensor that is elsewhere, in no shard, or not in the index.
    pub fn check(&self, shards: &[(&str, &[TensorInfo])]) -> Result<(), Error> {
        let mut held = HashSet::new();
        for (shard, tensors) in shards {
            for tensor in *tensors {
                let says = self.weight_map.get(&tensor.name).map(String::as_str);
                if says != Some(shard) {
                    let field = format_args!("weight_map of tensor `{}`", tensor.name);
                    let found = format_args!("`{}`", says.unwrap_or("nothing"));
                    return Err(Error::malformed(INDEX, field, found, format_args!("`{shard}`, which holds it")));
                }
                held.insert(tensor.name.as_str());
            }
        }
        match self.weight_map.iter().filter(|(name, _)| !held.contains(name.as_str())).min() {
            None => Ok(()),
            Some((tensor, shard)) => {
                let field = format_args!("tensor `{tensor}`");
                Err(Error::malformed(shard, field, "no such tensor", format_args!("it here, as {INDEX} says")))
            }
        }
    }
}

/// Whether a name stays in its folder on every system.
fn is_plain(name: &str) -> bool {
    name.ends_with(".safetensors") && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}
