//! The registry: one file a family, one line in the table.

mod glm4;
mod llama;
mod mistral;
mod qwen2;
mod qwen3;

use crate::{Config, Container, Decoder, Error, Keys, Names};

/// What a family is called, and how its configurations are read.
#[derive(Debug)]
pub struct Family {
    /// Name in locks, reports and messages.
    pub name: &'static str,
    /// `model_type` of `config.json`.
    pub model_type: &'static str,
    /// `general.architecture` of GGUF, where the family has one of its own.
    pub architecture: Option<&'static str>,
    /// Reads `config.json`.
    pub from_config: fn(&Config) -> Result<Decoder, Error>,
    /// Reads the keys of a GGUF.
    pub from_gguf: fn(&dyn Keys) -> Result<Decoder, Error>,
    /// Tensor names in safetensors.
    pub hugging_face: &'static Names,
    /// Tensor names in GGUF.
    pub gguf: &'static Names,
}

/// Every family this build knows.
pub const FAMILIES: &[Family] = &[llama::FAMILY, mistral::FAMILY, qwen2::FAMILY, qwen3::FAMILY, glm4::FAMILY];

impl Family {
    /// Reads a `config.json`: its family and the description, checked; `file` is its name in messages.
    pub fn read_config(file: &str, bytes: &[u8]) -> Result<(&'static Family, Decoder), Error> {
        let config = Config::parse(file, bytes)?;
        let read = || {
            let family = Self::of_config(&config)?;
            let decoder = (family.from_config)(&config)?;
            decoder.check()?;
            Ok((family, decoder))
        };
        read().map_err(|error: Error| error.in_file(file))
    }

    /// Reads the keys of a GGUF file: its family and the description, checked; `file` is its name in messages.
    pub fn read_gguf(file: &str, keys: &dyn Keys) -> Result<(&'static Family, Decoder), Error> {
        let read = || {
            let family = Self::of_gguf(keys)?;
            let decoder = (family.from_gguf)(keys)?;
            decoder.check()?;
            Ok((family, decoder))
        };
        read().map_err(|error: Error| error.in_file(file))
    }

    fn of_config(config: &Config) -> Result<&'static Family, Error> {
        let known = || FAMILIES.iter().map(|family| family.model_type).collect::<Vec<_>>().join(", ");
        let found = config.text("model_type")?.ok_or_else(|| Error::missing("model_type", "a model family"))?;
        let family = FAMILIES.iter().find(|family| family.model_type == found);
        family.ok_or_else(|| Error::unsupported("model_type", found, known()))
    }

    fn of_gguf(keys: &dyn Keys) -> Result<&'static Family, Error> {
        let known = || FAMILIES.iter().filter_map(|family| family.architecture).collect::<Vec<_>>().join(", ");
        let found = keys.text("general.architecture")?;
        let found = found.ok_or_else(|| Error::missing("general.architecture", "a model family"))?;
        let family = FAMILIES.iter().find(|family| family.architecture == Some(found.as_str()));
        family.ok_or_else(|| Error::unsupported("general.architecture", found, known()))
    }

    /// The `general.architecture` of its GGUF files: its own, or that of Llama.
    pub fn gguf_architecture(&self) -> &'static str {
        self.architecture.unwrap_or(llama::FAMILY.name)
    }

    /// What the family's tensors are called in a container.
    pub fn names(&self, container: Container) -> &'static Names {
        match container {
            Container::Safetensors => self.hugging_face,
            Container::Gguf => self.gguf,
        }
    }
}
