//! Random weights of any block type.

use std::collections::HashMap;

use plimsoll_formats::blocks::{BlockType, F32};
use plimsoll_formats::{Error, TensorView};
use plimsoll_model::{Decoder, Part, TensorId};

use crate::TensorSource;

/// SplitMix64: small, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    /// A stream of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Uniform in -1..1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

struct Stored {
    block: &'static BlockType,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// Weights for a description: matrices of one block type, everything else f32.
pub struct RandomWeights(HashMap<TensorId, Stored>);

impl RandomWeights {
    /// Matrices are scaled by the root of their row, so that activations keep their size; norms lie around 1.
    pub fn new(decoder: &Decoder, block: &'static BlockType, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let make = |(id, shape): (TensorId, Vec<usize>)| {
            let (block, data) = match shape[..] {
                [rows, cols] => (block, matrix(block, rows, cols, &mut rng)),
                _ => (&F32, shape.iter().flat_map(|n| vector(*n, &mut rng)).collect()),
            };
            (id, Stored { block, shape, data })
        };
        Self(decoder.tensors().into_iter().map(make).collect())
    }

    /// The embedding matrix only, `[rows, cols]`.
    pub fn matrix(block: &'static BlockType, rows: usize, cols: usize, seed: u64) -> Self {
        let data = matrix(block, rows, cols, &mut Rng::new(seed));
        Self([(Part::Embedding.global(), Stored { block, shape: vec![rows, cols], data })].into())
    }
}

fn vector(len: usize, rng: &mut Rng) -> Vec<u8> {
    (0..len).flat_map(|_| (1.0 + 0.5 * rng.unit()).to_le_bytes()).collect()
}

fn matrix(block: &BlockType, rows: usize, cols: usize, rng: &mut Rng) -> Vec<u8> {
    let scale = 1.7 / (cols as f32).sqrt();
    let mut data = vec![0; block.tensor_bytes(&[rows, cols]).expect("whole blocks")];
    for chunk in data.chunks_exact_mut(block.bytes) {
        let values: Vec<f32> = (0..block.values).map(|_| scale * rng.unit()).collect();
        if block.encode(&values, chunk).is_err() {
            random_block(block, chunk, scale, rng);
        }
    }
    data
}

/// A type without an encoder: random bytes until all values are of the wanted size.
fn random_block(block: &BlockType, chunk: &mut [u8], scale: f32, rng: &mut Rng) {
    let mut values = vec![0.0; block.values];
    loop {
        chunk.iter_mut().for_each(|byte| *byte = rng.next() as u8);
        block.decode(chunk, &mut values).expect("whole block");
        let most =
            values.iter().fold(0.0, |most: f32, v| if v.is_finite() { most.max(v.abs()) } else { f32::INFINITY });
        if (0.25 * scale..2.0 * scale).contains(&most) {
            return;
        }
    }
}

impl TensorSource for RandomWeights {
    fn tensor(&self, id: TensorId) -> Result<TensorView<'_>, Error> {
        let missing = || Error::Files { found: "no such tensor".into(), expected: id.to_string() };
        let Stored { block, shape, data } = self.0.get(&id).ok_or_else(missing)?;
        Ok(TensorView { name: "random", block, shape: shape.clone(), data: data.into() })
    }
}
