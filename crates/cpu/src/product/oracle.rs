//! Products against integers: every type's levels and scales read from the file's bytes once more, one value at a time, and
//! multiplied in `i32`. Every tier gives the same bits.

use half::f16;
use plimsoll_backend::suite::Rng;
use plimsoll_formats::TensorView;
use plimsoll_formats::blocks::{BlockType, TABLE};

use super::tests::{Case, tiers};
use super::*;
use crate::activations::Rounding;
use crate::pool::Pool;

const IQ4: [i32; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// Doubled, as 0.5 and 1.5 are among them.
const FP4: [i32; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// A block as files hold it, read as `plimsoll_formats` says it is laid out.
struct Block<'a>(&'static str, &'a [u8]);

impl Block<'_> {
    fn f16(&self, at: usize) -> f32 {
        f16::from_le_bytes([self.1[at], self.1[at + 1]]).to_f32()
    }

    fn bits(&self, at: usize, shift: usize, mask: u8) -> i32 {
        i32::from(self.1[at] >> shift & mask)
    }

    /// Bit `i` of a word.
    fn bit(&self, at: usize, i: usize) -> i32 {
        self.bits(at + i / 8, i % 8, 1)
    }

    /// Nibble `i` of 32 in 16 bytes.
    fn nibble(&self, at: usize, i: usize) -> i32 {
        self.bits(at + i % 16, 4 * (i / 16), 15)
    }

    /// Two bits of value `i` in a K-quant, four values to a byte.
    fn two(&self, at: usize, i: usize) -> i32 {
        self.bits(at + 32 * (i / 128) + i % 32, 2 * (i % 128 / 32), 3)
    }

    /// Four bits of value `i` in a K-quant, two values to a byte.
    fn four(&self, at: usize, i: usize) -> i32 {
        self.bits(at + 32 * (i / 64) + i % 32, 4 * (i % 64 / 32), 15)
    }

    /// Scale and minimum `g` of Q4_K and Q5_K, six bits each.
    fn six(&self, g: usize) -> (i32, i32) {
        match g {
            ..4 => (self.bits(4 + g, 0, 63), self.bits(8 + g, 0, 63)),
            _ => (
                self.bits(8 + g, 0, 15) | self.bits(g, 6, 3) << 4,
                self.bits(8 + g, 4, 15) | self.bits(4 + g, 6, 3) << 4,
            ),
        }
    }

    /// The integer of value `i`.
    fn level(&self, i: usize) -> i32 {
        match self.0 {
            "Q4_0" => self.nibble(2, i) - 8,
            "Q4_1" => self.nibble(4, i),
            "Q5_0" => (self.nibble(6, i) | self.bit(2, i) << 4) - 16,
            "Q5_1" => self.nibble(8, i) | self.bit(4, i) << 4,
            "Q8_0" => i32::from(self.1[2 + i] as i8),
            "IQ4_NL" => IQ4[self.nibble(2, i) as usize],
            "MXFP4" => FP4[self.nibble(1, i) as usize],
            "Q2_K" => self.two(16, i),
            "Q3_K" => (self.two(32, i) | self.bits(i % 32, i / 32, 1) << 2) - 4,
            "Q4_K" => self.four(16, i),
            "Q5_K" => self.four(48, i) | self.bits(16 + i % 32, i / 32, 1) << 4,
            "Q6_K" => {
                let (half, r) = (i / 128, i % 128);
                let high = self.bits(128 + 32 * half + r % 32, 2 * (r / 32), 3);
                (self.bits(64 * half + r % 64, 4 * (r / 64), 15) | high << 4) - 32
            }
            "IQ4_XS" => IQ4[self.nibble(8 + i / 32 * 16, i % 32) as usize],
            other => panic!("{other} has no integers"),
        }
    }

    /// What the integers of group `g` are multiplied with, and what is added to the product, if anything is.
    fn scale(&self, g: usize) -> (f32, Option<f32>) {
        match self.0 {
            "Q4_1" | "Q5_1" => (self.f16(0), Some(self.f16(2))),
            "MXFP4" => (2_f64.powi(i32::from(self.1[0]) - 128) as f32, None),
            "Q2_K" => {
                let (scale, minimum) = (self.bits(g, 0, 15), self.bits(g, 4, 15));
                (self.f16(80) * scale as f32, Some(-self.f16(82) * minimum as f32))
            }
            "Q3_K" => {
                let scale = self.bits(96 + g % 8, 4 * (g / 8), 15) | self.bits(104 + g % 4, 2 * (g / 4), 3) << 4;
                (self.f16(108) * (scale - 32) as f32, None)
            }
            "Q4_K" | "Q5_K" => {
                let (scale, minimum) = self.six(g);
                (self.f16(0) * scale as f32, Some(-self.f16(2) * minimum as f32))
            }
            "Q6_K" => (self.f16(208) * f32::from(self.1[192 + g] as i8), None),
            "IQ4_XS" => {
                let scale = self.bits(4 + g / 2, 4 * (g % 2), 15) | self.bits(2 + g / 4, 2 * (g % 4), 3) << 4;
                (self.f16(0) * (scale - 32) as f32, None)
            }
            _ => (self.f16(0), None),
        }
    }
}

/// Values that share a scale.
fn group(block: &BlockType) -> usize {
    if ["Q2_K", "Q3_K", "Q6_K"].contains(&block.name) { 16 } else { 32 }
}

/// Int8 values of `value = scale * q`: the largest is 127, ties go to even.
fn round(values: &[f32]) -> (Vec<i32>, f32) {
    let scale = values.iter().fold(0.0, |most: f32, value| most.max(value.abs())) / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    (values.iter().map(|value| (value * inverse).round_ties_even() as i32).collect(), scale)
}

/// One row times one column. Sums within a group are integers; a group's sum is scaled and added, then its offset; a tile of 256
/// values is added with the scale of its activations, which for types in blocks of 32 belongs to the group.
fn dot(block: &BlockType, row: &[u8], column: &[f32]) -> f32 {
    let (blockwise, len, mut total) = (block.values == 32, group(block), 0.0);
    for (t, values) in column.chunks(TILE).enumerate() {
        let ((whole, tile_scale), mut sum) = (round(values), 0.0);
        for first in (0..values.len()).step_by(len) {
            let k = t * TILE + first;
            let weights = Block(block.name, &row[k / block.values * block.bytes..][..block.bytes]);
            let (scale, offset) = weights.scale(k % block.values / len);
            let (q, own) = match blockwise {
                true => round(&values[first..][..len]),
                false => (whole[first..][..len].to_vec(), 1.0),
            };
            let dot: i32 = q.iter().enumerate().map(|(i, q)| q * weights.level(k % block.values + i)).sum();
            sum = (dot as f32).mul_add(scale * own, sum);
            if let Some(offset) = offset {
                sum = offset.mul_add(q.iter().sum::<i32>() as f32 * own, sum);
            }
        }
        total = f32::mul_add(sum, if blockwise { 1.0 } else { tile_scale }, total);
    }
    total
}

/// A row of blocks of random bytes, of which none says more than sums can hold.
fn random_row(block: &BlockType, width: usize, rng: &mut Rng) -> Vec<u8> {
    let mut values = vec![0.0; block.values];
    let mut random = || loop {
        let bytes: Vec<u8> = (0..block.bytes).map(|_| rng.below(256) as u8).collect();
        block.decode(&bytes, &mut values).unwrap();
        if values.iter().all(|value| value.abs() < 1e20) {
            return bytes;
        }
    };
    (0..width / block.values).flat_map(|_| random()).collect()
}

#[test]
fn products_have_the_bits_of_integer_sums() {
    const ROWS: usize = 19;
    const COLUMNS: usize = 7;
    let mut rng = Rng::new(21);
    for block in TABLE.iter().copied().filter(|block| block.values > 1) {
        // One superblock, and several; a last one that is not whole where there can be one.
        for width in if block.values == 32 { [32, 256, 608] } else { [256, 512, 768] } {
            let rows: Vec<Vec<u8>> = (0..ROWS).map(|_| random_row(block, width, &mut rng)).collect();
            let shape = vec![ROWS, width];
            let case = Case::pack(&TensorView { name: "random", block, shape, data: rows.concat().into() });
            let mut columns: Vec<Vec<f32>> = (0..COLUMNS).map(|_| (0..width).map(|_| rng.unit()).collect()).collect();
            columns[1][..32].fill(0.0);
            let expected: Vec<f32> =
                columns.iter().flat_map(|column| rows.iter().map(|row| dot(block, row, column))).collect();
            let rounding = [if block.values == 32 { Rounding::Block } else { Rounding::Tile }];
            for isa in tiers() {
                let mut activations = Activations::default();
                activations.resize(COLUMNS, width, &rounding);
                let pool = Pool::new(1, &[]).unwrap();
                activations.fill(isa, &pool, &rounding, |i, _| Some(&columns[i]));
                // One column, a few, and many.
                for (first, count) in [(1, 1), (1, 2), (0, 3), (2, 4), (0, COLUMNS)] {
                    let found = case.product(isa, &activations, first, count);
                    let expected = &expected[first * ROWS..][..count * ROWS];
                    let differs = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
                    let finite = found.iter().all(|value| value.is_finite());
                    assert!(finite && differs.is_none(), "{block} x {width} on {isa:?}: {count} columns, {differs:?}");
                }
            }
        }
    }
}
