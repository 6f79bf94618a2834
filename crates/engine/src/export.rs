//! A quantized model as one GGUF file.

use std::io::{self, Write};

use plimsoll_backend::TensorSource;
use plimsoll_formats::blocks::{self, BlockType};
use plimsoll_formats::{Container, Recipe, TensorView, Weights, gguf};
use plimsoll_lock::Digest;
use plimsoll_model::{Mixer, TensorId};

use crate::opened::Counted;
use crate::quantized::Quantized;
use crate::{Error, Opened, Progress, assets};

const ROPE_FREQS: &str = "rope_freqs.weight";
/// Keys that tell how a file was split; what is written is whole.
const SPLIT: &str = "split.";

/// A key of ours: the digest of the locked files that a file was made of.
const DERIVED_FROM: &str = "plimsoll.derived_from";

/// What was written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Tensors.
    pub tensors: usize,
    /// Over all quantized tensors, as a lock records it.
    pub result: Digest,
}

/// A tensor of the file, and the tensors of the model in its rows.
struct Stored {
    name: String,
    block: &'static BlockType,
    shape: Vec<usize>,
    parts: Vec<TensorId>,
}

impl Opened {
    /// Writes the model as a GGUF file with the same configuration, tokenizer, templates and defaults, its weights
    /// quantized by `recipe` on as many `threads`. Memory holds one tensor at a time.
    ///
    /// # Errors
    /// What GGUF cannot say of this model; weights that are quantized already; a result that is not the one of the lock,
    /// where `recipe` is the lock's; what writing says, with `file` as its name.
    pub fn export(
        &self,
        recipe: &'static Recipe,
        threads: usize,
        file: &str,
        mut out: impl Write,
        progress: Progress<'_>,
    ) -> Result<Exported, Error> {
        let checkpoint = self.checkpoint();
        let counted = Counted::new(checkpoint, progress);
        let quantized = Quantized::new(checkpoint, &counted, recipe, threads)?;
        let (stored, more) = (self.stored(&quantized)?, self.more_tensors()?);
        let mut writer = gguf::Writer::new();
        self.write_keys(recipe, &mut writer)?;
        for tensor in &stored {
            writer.stream(&tensor.name, tensor.block, &tensor.shape, |out| {
                out.write_all(&self.rows(tensor, &quantized).map_err(io::Error::other)?)
            })?;
        }
        for tensor in &more {
            writer.tensor(tensor.name, tensor.block, &tensor.shape, &tensor.data[..])?;
        }
        let failed = |error: io::Error| match error.downcast::<Error>() {
            Ok(error) => error,
            Err(source) => plimsoll_formats::Error::Io { file: file.into(), source }.into(),
        };
        writer.write(&mut out).and_then(|()| out.flush()).map_err(failed)?;
        let result = quantized.result()?;
        if self.recipe() == Some(recipe) {
            self.verified().check_result(result)?;
        }
        self.verified().check_unchanged()?;
        Ok(Exported { tensors: stored.len() + more.len(), result })
    }

    fn write_keys(&self, recipe: &Recipe, writer: &mut gguf::Writer<'_>) -> Result<(), Error> {
        let (weights, decoder, family) =
            (self.checkpoint().weights(), self.checkpoint().decoder(), self.checkpoint().family());
        match weights.metadata() {
            Some(metadata) => metadata
                .iter()
                .filter(|(key, _)| !key.starts_with(SPLIT))
                .for_each(|(key, value)| writer.set(key, value.clone())),
            None => {
                writer.set("general.architecture", family.gguf_architecture());
                writer.set("general.type", "model");
                writer.set("general.name", self.verified().name());
                let license = self.verified().locked().and_then(|locked| locked.license.expression.as_ref());
                license.iter().for_each(|license| writer.set("general.license", license.as_str()));
                family.gguf_keys(decoder)?.into_iter().for_each(|(key, value)| writer.set(&key, value));
                assets::write_gguf(weights, self.text(), self.defaults(), decoder.vocab, writer)?;
            }
        }
        if let Some(locked) = self.verified().locked() {
            writer.set(DERIVED_FROM, locked.digest.to_string().as_str());
        }
        writer.set("general.file_type", recipe.file_type);
        writer.set("general.quantization_version", 2u32);
        Ok(())
    }

    /// The tensors of the model as they lie in the file.
    fn stored(&self, quantized: &Quantized<'_>) -> Result<Vec<Stored>, Error> {
        let (decoder, family) = (self.checkpoint().decoder(), self.checkpoint().family());
        let mut stored: Vec<Stored> = Vec::new();
        for (id, shape) in decoder.tensors() {
            let name = family.names(Container::Gguf).written(id)?.name;
            match stored.last_mut().filter(|last| last.name == name) {
                Some(last) => {
                    last.shape[0] += shape[0];
                    last.parts.push(id);
                }
                None => stored.push(Stored { name, block: quantized.block(id)?, shape, parts: vec![id] }),
            }
        }
        Ok(stored)
    }

    /// The blocks of a stored tensor.
    fn rows(&self, stored: &Stored, quantized: &Quantized<'_>) -> Result<Vec<u8>, Error> {
        let mut rows = Vec::new();
        for &id in &stored.parts {
            let mut data = quantized.tensor(id)?.data.into_owned();
            if let Some(order) = self.checkpoint().family().gguf_rows(self.checkpoint().decoder(), id) {
                data = gather(&data, &order);
            }
            if rows.is_empty() {
                rows = data;
            } else {
                rows.extend(data);
            }
        }
        Ok(rows)
    }

    /// Tensors beside those of the description: what a GGUF file has more, and divisors of frequencies.
    fn more_tensors(&self) -> Result<Vec<TensorView<'_>>, Error> {
        if self.checkpoint().weights().container() == Container::Gguf {
            return Ok(self.checkpoint().unused()?);
        }
        let gqa = self.checkpoint().decoder().layers.first().map(|layer| {
            let Mixer::Gqa(gqa) = &layer.mixer;
            gqa
        });
        let divisors = gqa.and_then(|gqa| gqa.rope.as_ref()?.divisors());
        let tensor = |values: Vec<f32>| TensorView {
            name: ROPE_FREQS,
            block: &blocks::F32,
            shape: vec![values.len()],
            data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into(),
        };
        Ok(divisors.map(tensor).into_iter().collect())
    }
}

/// What a file written by [`Opened::export`] says it was made of.
pub(crate) fn derived_from(weights: &Weights) -> Result<Option<Digest>, Error> {
    let Some(metadata) = weights.metadata() else { return Ok(None) };
    let digest = metadata.text(DERIVED_FROM)?.map(str::parse).transpose();
    digest.map_err(|found| {
        let (file, field) = (metadata.file().into(), format!("key `{DERIVED_FROM}`"));
        plimsoll_formats::Error::Malformed { file, field, found, expected: "a digest".into() }.into()
    })
}

/// The rows of a tensor, all of them, in another order.
fn gather(data: &[u8], order: &[usize]) -> Vec<u8> {
    let stride = data.len() / order.len().max(1);
    let mut rows = Vec::with_capacity(data.len());
    order.iter().for_each(|row| rows.extend_from_slice(&data[row * stride..][..stride]));
    rows
}
