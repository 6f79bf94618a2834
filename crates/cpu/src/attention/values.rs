//! Sums of a chunk's values under their weights.

use std::array::from_fn;

use super::scores::{Row, WIDE, widen};
use super::unit::Run;
use crate::element::Load;
use crate::simd::{LANES, Lanes, Simd};

/// Runs whose values stay in the nearest cache while all rows pass.
const RUNS: usize = 4;
/// Vectors of a row of values that are summed in registers.
const COLUMNS: usize = 4;

/// The values of a chunk.
pub(super) struct Values<'a, E> {
    /// Lines of a row.
    pub(super) row: usize,
    pub(super) lines: &'a [[E; LANES]],
    pub(super) runs: &'a [Run],
}

impl<E: Load> Values<'_, E> {
    /// Adds the values under the weights of each row to `sums: [rows, row + 1]`, of which the last line is not touched.
    ///
    /// Positions are added one after the other, in ascending order.
    #[inline(always)]
    pub(super) fn add<S: Simd>(&self, s: S, weights: &[Row], wide: &mut Vec<Lanes>, sums: &mut [Lanes]) {
        if weights.len() < WIDE {
            self.add_rows(s, weights, sums);
            return;
        }
        wide.resize(wide.len().max(RUNS * LANES * self.row), [0.0; LANES]);
        for runs in self.runs.chunks(RUNS) {
            let mut all = Run { line: 0, len: 0, ..runs[0] };
            for run in runs {
                let lines = run.len * self.row;
                widen(s, &self.lines[run.line..][..lines], &mut wide[all.len * self.row..][..lines]);
                all.len += run.len;
            }
            Values { row: self.row, lines: wide, runs: &[all] }.add_rows(s, weights, sums);
        }
    }

    #[inline(always)]
    fn add_rows<S: Simd>(&self, s: S, weights: &[Row], sums: &mut [Lanes]) {
        let stride = self.row + 1;
        let (fours, rest) = weights.as_chunks::<4>();
        let (sums_fours, sums) = sums.split_at_mut(fours.len() * 4 * stride);
        for (weights, sums) in fours.iter().zip(sums_fours.chunks_exact_mut(4 * stride)) {
            self.add_block(s, weights, sums);
        }
        let (twos, rest) = rest.as_chunks::<2>();
        let (sums_twos, sums) = sums.split_at_mut(twos.len() * 2 * stride);
        for (weights, sums) in twos.iter().zip(sums_twos.chunks_exact_mut(2 * stride)) {
            self.add_block(s, weights, sums);
        }
        for (weights, sums) in rest.iter().zip(sums.chunks_exact_mut(stride)) {
            self.add_block(s, std::array::from_ref(weights), sums);
        }
    }

    #[inline(always)]
    fn add_block<S: Simd, const R: usize>(&self, s: S, weights: &[Row; R], sums: &mut [Lanes]) {
        let mut column = 0;
        while column + COLUMNS <= self.row {
            self.add_columns::<S, R, COLUMNS>(s, column, weights, sums);
            column += COLUMNS;
        }
        while column < self.row {
            self.add_columns::<S, R, 1>(s, column, weights, sums);
            column += 1;
        }
    }

    /// `R` rows of weights times `C` vectors of every row of values, in registers.
    #[inline(always)]
    fn add_columns<S: Simd, const R: usize, const C: usize>(
        &self,
        s: S,
        column: usize,
        weights: &[Row; R],
        sums: &mut [Lanes],
    ) {
        let mut totals = [[s.splat(0.0); C]; R];
        for (totals, sums) in totals.iter_mut().zip(sums.chunks_exact(self.row + 1)) {
            for (total, sum) in totals.iter_mut().zip(&sums[column..]) {
                *total = s.load(sum);
            }
        }
        for run in self.runs {
            let weights: [&[f32]; R] = from_fn(|r| &weights[r].as_flattened()[run.at..][..run.len]);
            let rows = self.lines[run.line..][..run.len * self.row].chunks_exact(self.row);
            for (i, row) in rows.enumerate() {
                let mut values = [s.splat(0.0); C];
                for (value, line) in values.iter_mut().zip(&row[column..]) {
                    *value = E::load(s, line);
                }
                for (totals, weights) in totals.iter_mut().zip(weights) {
                    let weight = s.splat(weights[i]);
                    for (total, value) in totals.iter_mut().zip(values) {
                        *total = s.fma(weight, value, *total);
                    }
                }
            }
        }
        for (totals, sums) in totals.iter().zip(sums.chunks_exact_mut(self.row + 1)) {
            for (total, sum) in totals.iter().zip(&mut sums[column..]) {
                s.store(*total, sum);
            }
        }
    }
}
