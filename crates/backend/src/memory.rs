//! What a model takes of a device's memory, known before anything is loaded.

use std::fmt;

use crate::{CacheShape, Error};

/// Memory of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What a model may take.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// What a model takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Weights as they are packed.
    pub weights: u64,
    /// The KV cache.
    pub cache: u64,
    /// Everything a step computes on the way.
    pub activations: u64,
}

/// What steps are to have room for.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// The KV cache.
    pub cache: CacheShape,
    /// Tokens of a step at most.
    pub tokens: usize,
    /// Rows of logits of a step at most.
    pub outputs: usize,
    /// Rows and width of every buffer.
    pub buffers: &'a [(usize, usize)],
}

/// A model held against the memory of a device.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// Name of the backend.
    pub backend: &'static str,
    /// What the model takes there.
    pub need: Need,
    /// What there is; none where it is the system's.
    pub memory: Option<Memory>,
}

impl Need {
    /// All together.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.cache).saturating_add(self.activations)
    }
}

impl Fit {
    /// Of a backend that shares the system's memory.
    pub fn unbounded(backend: &'static str) -> Self {
        Self { backend, need: Need::default(), memory: None }
    }

    /// Whether there is enough.
    pub fn holds(&self) -> bool {
        self.memory.is_none_or(|memory| self.need.total() <= memory.free)
    }

    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub fn check(&self) -> Result<(), Error> {
        match self.memory {
            Some(memory) if !self.holds() => Err(Error::Memory { backend: self.backend, need: self.need, memory }),
            _ => Ok(()),
        }
    }
}

/// A size for people.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(bits, _)| self.0 >> bits > 0) {
            Some((bits, unit)) => write!(f, "{:.2} {unit}", self.0 as f64 / (1_u64 << bits) as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [total, weights] = [self.total(), self.weights].map(Bytes);
        let [cache, activations] = [self.cache, self.activations].map(Bytes);
        write!(f, "{total} ({weights} of weights, {cache} of KV cache, {activations} of activations)")
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} free of {}", Bytes(self.free), Bytes(self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_told_in_numbers() {
        let need = Need { weights: 5 << 30, cache: 1 << 29, activations: 300 << 20 };
        let memory = |free| Some(Memory { free, total: 8 << 30 });
        let fit = |free| Fit { backend: "GPU", need, memory: memory(free) };
        fit(need.total()).check().unwrap();
        Fit::unbounded("CPU").check().unwrap();
        let expected = "the model takes 5.79 GiB (5.00 GiB of weights, 512.00 MiB of KV cache, 300.00 MiB of activations) on the GPU \
                        backend, which has 5.79 GiB free of 8.00 GiB; less with a smaller KV cache, or with some layers elsewhere";
        assert_eq!(fit(need.total() - 1).check().unwrap_err().to_string(), expected);
        assert_eq!(Bytes(1023).to_string(), "1023 bytes");
    }
}
