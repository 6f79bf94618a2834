//! Weights with what they mean: the family, the description, and where each tensor is stored.

use std::collections::HashSet;

use plimsoll_backend::TensorSource;
use plimsoll_formats::{Container, TensorView, Weights};
use plimsoll_model::{Decoder, Family, Keys, Part, TensorId};

use crate::Error;

type FormatError = plimsoll_formats::Error;
type ModelError = plimsoll_model::Error;

/// An opened model: every tensor that its description needs is there, with the right shape, and no other of a layer.
#[derive(Debug)]
pub struct Checkpoint {
    weights: Weights,
    family: &'static Family,
    decoder: Decoder,
}

impl Checkpoint {
    /// Reads the configuration of opened weights and holds it against the tensors.
    ///
    /// # Errors
    /// [`Error::Model`] for a configuration that describes no model this build runs; [`Error::Formats`] where
    /// configuration and tensors disagree.
    pub fn new(weights: Weights) -> Result<Self, Error> {
        if weights.names().next().is_none() {
            return Err(FormatError::Files { found: "no tensors".into(), expected: "those of a model".into() }.into());
        }
        let (family, mut decoder) = describe(&weights)?;
        let names = family.names(weights.container());
        decoder.tied_embeddings = weights.get(&names.name(Part::Head.global())?).is_none();
        let checkpoint = Self { weights, family, decoder };
        checkpoint.check_tensors()?;
        Ok(checkpoint)
    }

    /// The family.
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// The description.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The files.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The stored tensors that are no part of the description.
    pub(crate) fn unused(&self) -> Result<Vec<TensorView<'_>>, FormatError> {
        let tensors = self.decoder.tensors();
        let used = tensors.iter().map(|(id, shape)| Ok(self.find(*id, shape)?.name));
        let used = used.collect::<Result<HashSet<_>, FormatError>>()?;
        let names = self.weights.names().filter(|name| !used.contains(name));
        Ok(names.filter_map(|name| self.weights.get(name)).collect())
    }

    fn check_tensors(&self) -> Result<(), FormatError> {
        let mut used = HashSet::new();
        for (id, shape) in self.decoder.tensors() {
            used.insert(self.find(id, &shape)?.name);
        }
        let names = self.family.names(self.weights.container());
        for layer in 0..=self.decoder.layers.len() {
            let ids = names.single.iter().filter(|(_, name)| name.contains("{}")).map(|(part, _)| part.of(layer));
            for place in ids.flat_map(|id| names.places(id)) {
                if self.weights.get(&place.name).is_some() && !used.contains(place.name.as_str()) {
                    let layers = self.decoder.layers.len();
                    let expected = format!("none in this {} model of {layers} layers", self.family.name);
                    return Err(malformed(&place.name, "a tensor", expected));
                }
            }
        }
        Ok(())
    }

    /// The stored tensor, or the rows of one, that has the wanted shape.
    fn find(&self, id: TensorId, shape: &[usize]) -> Result<TensorView<'_>, FormatError> {
        let mut mismatch = None;
        for place in self.family.names(self.weights.container()).places(id) {
            let Some(view) = self.weights.get(&place.name) else { continue };
            let (before, total) = self.rows_around(id, place.parts);
            let stored = [&[total], &shape[1..]].concat();
            if view.shape == stored {
                return if total == shape[0] { Ok(view) } else { slice(view, before, shape) };
            }
            let found = format!("shape {:?}", view.shape);
            mismatch
                .get_or_insert_with(|| malformed(view.name, found, format!("shape {stored:?} by the configuration")));
        }
        Err(mismatch.unwrap_or_else(|| {
            let name = self.family.names(self.weights.container()).name(id).unwrap_or_else(|_| id.to_string());
            malformed(&name, "no such tensor", format!("shape {shape:?} by the configuration"))
        }))
    }

    /// Rows of the parts before `id` in a stored tensor, and of all its parts.
    fn rows_around(&self, id: TensorId, parts: &[Part]) -> (usize, usize) {
        let (mut before, mut total) = (0, 0);
        for part in parts {
            if *part == id.part {
                before = total;
            }
            total += self.decoder.shape(TensorId { layer: id.layer, part: *part }).map_or(0, |shape| shape[0]);
        }
        (before, total)
    }
}

impl TensorSource for Checkpoint {
    fn tensor(&self, id: TensorId) -> Result<TensorView<'_>, FormatError> {
        let shape = self.decoder.shape(id).ok_or_else(|| malformed(&id.to_string(), "no such tensor", "one"))?;
        self.find(id, &shape)
    }

    fn release(&self, view: TensorView<'_>) {
        self.weights.release(view.name);
    }
}

fn slice<'a>(view: TensorView<'a>, before: usize, shape: &[usize]) -> Result<TensorView<'a>, FormatError> {
    view.rows(before..before + shape[0])
}

fn malformed(tensor: &str, found: impl ToString, expected: impl ToString) -> FormatError {
    FormatError::Malformed {
        file: "checkpoint".into(),
        field: format!("tensor `{tensor}`"),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

fn describe(weights: &Weights) -> Result<(&'static Family, Decoder), ModelError> {
    const CONFIG: &str = "config.json";
    match weights.container() {
        Container::Safetensors => {
            let missing = || ModelError::Missing { field: CONFIG.into(), expected: "the model's configuration" };
            Family::read_config(CONFIG, weights.asset(CONFIG).ok_or_else(missing)?)
        }
        Container::Gguf => {
            let file = weights.metadata().map_or("", |metadata| metadata.file());
            Family::read_gguf(file, &Header(weights))
        }
    }
}

/// The keys of a GGUF file as the families read them.
struct Header<'a>(&'a Weights);

impl Header<'_> {
    fn read<T>(
        &self,
        get: impl Fn(&plimsoll_formats::gguf::Metadata) -> Result<Option<T>, FormatError>,
    ) -> Result<Option<T>, ModelError> {
        self.0.metadata().map_or(Ok(None), get).map_err(key_error)
    }
}

fn key_error(error: FormatError) -> ModelError {
    match error {
        FormatError::Malformed { file, field, found, expected } => {
            ModelError::Invalid { field: format!("{file}: {field}"), found, expected }
        }
        other => {
            ModelError::Invalid { field: "header".into(), found: other.to_string(), expected: "a sound file".into() }
        }
    }
}

impl Keys for Header<'_> {
    fn int(&self, key: &str) -> Result<Option<i64>, ModelError> {
        self.read(|metadata| metadata.int(key))
    }

    fn ints(&self, key: &str) -> Result<Option<Vec<i64>>, ModelError> {
        use plimsoll_formats::gguf::Value;
        self.read(|metadata| match metadata.get(key) {
            Some(Value::Array(_)) => metadata.ints(key),
            _ => Ok(metadata.int(key)?.map(|value| vec![value])),
        })
    }

    fn float(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.read(|metadata| metadata.float(key))
    }

    fn text(&self, key: &str) -> Result<Option<String>, ModelError> {
        self.read(|metadata| Ok(metadata.text(key)?.map(str::to_owned)))
    }

    fn shape(&self, tensor: &str) -> Option<Vec<usize>> {
        self.0.get(tensor).map(|view| view.shape)
    }

    fn values(&self, tensor: &str) -> Result<Option<Vec<f32>>, ModelError> {
        const MOST: usize = 1 << 16;
        match self.0.get(tensor) {
            None => Ok(None),
            Some(view) if view.len() > MOST => {
                let found = format!("{} values", view.len());
                Err(ModelError::Invalid { field: tensor.into(), found, expected: format!("at most {MOST}") })
            }
            Some(view) => view.to_f32().map(Some).map_err(key_error),
        }
    }
}
