//! Products against sums in f64 over the same rounded activations, and every tier against plain Rust bit for bit.

use plimsoll_backend::TensorSource;
use plimsoll_backend::suite::{RandomWeights, Rng};
use plimsoll_formats::TensorView;
use plimsoll_formats::blocks::{BlockType, TABLE};
use plimsoll_model::Part;

use super::*;
use crate::activations::Rounding;
use crate::pool::Pool;
use crate::simd::Tier;

/// A matrix with its memory.
pub(super) struct Case {
    matrix: Matrix,
    memory: Memory,
    /// `[rows, width]`
    weights: Vec<f32>,
}

impl Case {
    /// Random weights.
    fn new(block: &'static BlockType, rows: usize, width: usize) -> Self {
        Self::pack(&RandomWeights::matrix(block, rows, width, 3).tensor(Part::Embedding.global()).unwrap())
    }

    pub(super) fn pack(view: &TensorView<'_>) -> Self {
        let mut memory = Memory::default();
        let matrix = Matrix::pack(view, &mut memory, &Pool::new(2, &[]).unwrap()).unwrap();
        Self { matrix, memory, weights: view.to_f32().unwrap() }
    }

    /// Results of columns `first..first + count`, `[count, rows]`.
    pub(super) fn product(&self, isa: Isa, activations: &Activations, first: usize, count: usize) -> Vec<f32> {
        let mut out = vec![0.0; count * self.matrix.rows];
        let mut results = vec![[[0.0; LANES]; 2]; count];
        for unit in 0..self.matrix.rows.div_ceil(ROWS) {
            product(isa, (&self.matrix, &self.memory), unit, activations, first, &mut results);
            for (row, results) in out.chunks_exact_mut(self.matrix.rows).zip(&results) {
                let row = &mut row[ROWS * unit..];
                let len = row.len().min(ROWS);
                row[..len].copy_from_slice(&results.as_flattened()[..len]);
                assert!(results.as_flattened()[len..].iter().all(|beyond| *beyond == 0.0));
            }
        }
        out
    }
}

/// Random activations in the rounding a matrix wants, and what they were rounded to.
fn activations(isa: Isa, matrix: &Matrix, rows: usize) -> (Activations, Vec<f32>) {
    let (mut rng, rounding) = (Rng::new(9), matrix.rounding());
    let mut values: Vec<f32> = (0..rows * matrix.width).map(|_| rng.unit()).collect();
    let mut activations = Activations::default();
    activations.resize(rows, matrix.width, &[rounding]);
    activations.fill(isa, &Pool::new(1, &[]).unwrap(), &[rounding], |row, to| {
        to.copy_from_slice(&values[row * matrix.width..][..matrix.width]);
        None
    });
    if rounding != Rounding::None {
        let columns = activations.columns(rounding == Rounding::Block);
        for (row, values) in values.chunks_exact_mut(matrix.width).enumerate() {
            for (k, value) in values.iter_mut().enumerate() {
                let column = &columns[k / TILE * rows + row];
                let q = column.q[k % TILE / 4].to_le_bytes()[k % 4] as i8;
                let rounded = f32::from(q) * column.group[k % TILE / 32] * column.scale;
                assert!((rounded - *value).abs() < 1.0 / 200.0, "{rounding:?}: {value} became {rounded}");
                *value = rounded;
            }
        }
    }
    (activations, values)
}

/// Every tier of this machine.
pub(super) fn tiers() -> impl Iterator<Item = Isa> {
    Tier::ALL.iter().filter_map(|tier| tier.isa())
}

#[test]
fn products_are_sums_of_products() {
    let scalar = Tier::Scalar.isa().unwrap();
    for block in TABLE {
        let wide = match block.values {
            256 => 512,
            32 => 288,
            _ => 51,
        };
        let case = Case::new(block, 53, wide);
        let (activations, values) = activations(scalar, &case.matrix, 9);
        let found = case.product(scalar, &activations, 0, 9);
        let (mut error, mut norm) = (0.0, 0.0);
        for (column, found) in values.chunks_exact(wide).zip(found.chunks_exact(53)) {
            for (row, found) in case.weights.chunks_exact(wide).zip(found) {
                let exact: f64 = row.iter().zip(column).map(|(w, a)| f64::from(*w) * f64::from(*a)).sum();
                error += (exact - f64::from(*found)).powi(2);
                norm += exact.powi(2);
            }
        }
        assert!(error <= 1e-10 * norm, "{block}: NMSE {:e}", error / norm);
    }
}

#[test]
fn every_tier_and_every_batch_gives_the_same_bits() {
    let scalar = Tier::Scalar.isa().unwrap();
    for block in TABLE {
        let case = Case::new(block, 48, if block.values == 1 { 51 } else { 512 });
        let (rounded, _) = activations(scalar, &case.matrix, 15);
        let expected = case.product(scalar, &rounded, 0, 15);
        for isa in tiers() {
            let (activations, _) = activations(isa, &case.matrix, 15);
            for count in [1, 2, 3, 4, 5, 6, 15] {
                let firsts = (0..15 / count * count).step_by(count);
                let found: Vec<f32> = firsts.flat_map(|first| case.product(isa, &activations, first, count)).collect();
                assert!(found == expected[..found.len()], "{block} on {isa:?} in batches of {count}");
            }
        }
    }
}

#[test]
fn rows_come_back_as_they_are_in_the_file() {
    for block in TABLE {
        let wide = block.values.max(32) * 3;
        let case = Case::new(block, 21, wide);
        let mut row = vec![0.0; wide];
        for isa in tiers() {
            for (i, expected) in case.weights.chunks_exact(wide).enumerate() {
                case.matrix.row(isa, &case.memory, i, &mut row);
                assert_eq!(row, expected, "{block} on {isa:?}: row {i}");
            }
        }
    }
}

#[test]
fn values_that_are_no_numbers_are_not_rounded_away() {
    let isa = Tier::best().isa().unwrap();
    for bad in [f32::NAN, f32::INFINITY] {
        for rounding in [Rounding::Tile, Rounding::Block] {
            let mut values = [1.0; TILE];
            values[77] = bad;
            let mut activations = Activations::default();
            activations.resize(1, TILE, &[rounding]);
            let pool = Pool::new(1, &[]).unwrap();
            activations.fill(isa, &pool, &[rounding], |_, _| Some(&values));
            let column = &activations.columns(rounding == Rounding::Block)[0];
            assert!((column.scale * column.group[77 / 32]).is_nan(), "{bad}, {rounding:?}");
        }
    }
}
