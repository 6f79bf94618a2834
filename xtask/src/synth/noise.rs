//! Random blocks without an encoder: random bytes, but for the numbers that scale them.

use std::io::{self, Write};

use half::{bf16, f16};
use plimsoll_formats::blocks::{self, BlockType};

use crate::Result;
use crate::rng::Rng;

/// Bytes that are made at a time.
const CHUNK: usize = 64 << 10;

/// A number in a block whose size is not left to chance.
struct Field {
    /// Offset in the block, in bytes.
    at: usize,
    number: Number,
    /// Its value where the block's scale is 1.
    unit: f32,
    /// Bits that stay random, so that no two blocks are scaled alike.
    free: u32,
}

#[derive(Clone, Copy)]
enum Number {
    F16,
    BF16,
    F32,
    /// An exponent of base 2, biased by 127.
    Power,
}

const fn field(at: usize, number: Number, unit: f32, free: u32) -> Field {
    Field { at, number, unit, free }
}

/// A scale above 0, or a minimum below it.
const fn half(at: usize, unit: f32) -> Field {
    field(at, Number::F16, unit, 0x003f)
}

/// A scale of either sign, as encoders of levels that are not symmetric choose it.
const fn signed(at: usize) -> Field {
    field(at, Number::F16, 1.0, 0x803f)
}

/// Minimums are those that make the mean 0. Of floats, sign and mantissa are random.
static FIELDS: &[(&BlockType, &[Field])] = &[
    (&blocks::F32, &[field(0, Number::F32, 1.0, 0x807f_ffff)]),
    (&blocks::F16, &[field(0, Number::F16, 1.0, 0x83ff)]),
    (&blocks::BF16, &[field(0, Number::BF16, 1.0, 0x807f)]),
    (&blocks::Q4_0, &[signed(0)]),
    (&blocks::Q4_1, &[half(0, 1.0), half(2, -7.5)]),
    (&blocks::Q5_0, &[signed(0)]),
    (&blocks::Q5_1, &[half(0, 1.0), half(2, -15.5)]),
    (&blocks::Q8_0, &[half(0, 1.0)]),
    (&blocks::Q2_K, &[half(80, 1.0), half(82, 1.5)]),
    (&blocks::Q3_K, &[half(108, 1.0)]),
    (&blocks::Q4_K, &[half(0, 1.0), half(2, 7.5)]),
    (&blocks::Q5_K, &[half(0, 1.0), half(2, 15.5)]),
    (&blocks::Q6_K, &[half(208, 1.0)]),
    (&blocks::IQ4_NL, &[signed(0)]),
    (&blocks::IQ4_XS, &[half(0, 1.0)]),
    (&blocks::MXFP4, &[field(0, Number::Power, 1.0, 0)]),
];

/// The weights of a norm, from 1 to 1.5.
const NORM: Field = field(0, Number::F32, 1.0, 0x003f_ffff);

/// Makes the blocks of one tensor: `random & keep | set`, over a whole number of blocks.
pub struct Noise {
    keep: Vec<u8>,
    set: Vec<u8>,
}

impl Noise {
    /// Values around 0 whose root mean square is `rms`, within a factor of 2.
    ///
    /// # Errors
    /// For a block type that is not in the table here.
    pub fn new(block: &BlockType, rms: f32) -> Result<Self> {
        let known = FIELDS.iter().find(|(known, _)| *known == block);
        let (_, fields) = known.ok_or_else(|| format!("no random blocks of {block}"))?;
        let unit = Self::scaled(block, fields, 1.0);
        let mut bytes = vec![0; unit.keep.len()];
        unit.next(&mut Rng(0), &mut bytes);
        let mut values = vec![0.0; bytes.len() / block.bytes * block.values];
        block.decode(&bytes, &mut values)?;
        let square = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
        Ok(Self::scaled(block, fields, rms / square.sqrt()))
    }

    /// Weights of a norm, in f32.
    pub fn norm() -> Self {
        Self::scaled(&blocks::F32, &[NORM], 1.0)
    }

    fn scaled(block: &BlockType, fields: &[Field], scale: f32) -> Self {
        let (mut keep, mut set) = (vec![0xff; block.bytes], vec![0; block.bytes]);
        for &Field { at, number, unit, free } in fields {
            let (bits, bytes) = number.bits(scale * unit);
            keep[at..][..bytes].copy_from_slice(&free.to_le_bytes()[..bytes]);
            set[at..][..bytes].copy_from_slice(&(bits & !free).to_le_bytes()[..bytes]);
        }
        let blocks = CHUNK / block.bytes;
        Self { keep: keep.repeat(blocks), set: set.repeat(blocks) }
    }

    /// Writes the first `len` bytes that a seed stands for.
    pub fn write(&self, seed: u64, len: usize, out: &mut dyn Write) -> io::Result<()> {
        let mut rng = Rng(seed);
        let mut bytes = vec![0; self.keep.len()];
        let mut left = len;
        while left > 0 {
            self.next(&mut rng, &mut bytes);
            let part = left.min(bytes.len());
            out.write_all(&bytes[..part])?;
            left -= part;
        }
        Ok(())
    }

    fn next(&self, rng: &mut Rng, bytes: &mut [u8]) {
        rng.fill(bytes);
        for (byte, (keep, set)) in bytes.iter_mut().zip(self.keep.iter().zip(&self.set)) {
            *byte = *byte & keep | set;
        }
    }
}

impl Number {
    /// A value's bits, and how many bytes they take.
    fn bits(self, value: f32) -> (u32, usize) {
        match self {
            Self::F16 => (f16::from_f32(value).to_bits().into(), 2),
            Self::BF16 => (bf16::from_f32(value).to_bits().into(), 2),
            Self::F32 => (value.to_bits(), 4),
            Self::Power => ((127.0 + value.log2().round()) as u32, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_type_have_the_size_asked_for_and_no_mean() {
        for block in blocks::TABLE {
            for rms in [1.0 / 32.0, 1.0 / 64.0, 1.0 / 120.0] {
                let mut bytes = Vec::new();
                Noise::new(block, rms).unwrap().write(7, 2000 * block.bytes, &mut bytes).unwrap();
                let mut values = vec![f32::NAN; 2000 * block.values];
                block.decode(&bytes, &mut values).unwrap();
                let mean =
                    |power: i32| values.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / values.len() as f64;
                let ratio = mean(2).sqrt() / f64::from(rms);
                assert!((0.5..2.0).contains(&ratio), "{block} {rms}: {ratio}");
                assert!(mean(1).abs() < 0.1 * f64::from(rms), "{block} {rms}: mean {}", mean(1));
            }
        }
    }

    #[test]
    fn norms_are_near_one_and_seeds_differ() {
        let bytes = |seed| {
            let mut bytes = Vec::new();
            Noise::norm().write(seed, 4000, &mut bytes).unwrap();
            bytes
        };
        let mut values = [0.0; 1000];
        blocks::F32.decode(&bytes(1), &mut values).unwrap();
        assert!(values.iter().all(|value| (1.0..1.5).contains(value)));
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }
}
