//! Sums of a chunk's values under their weights.

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
        let mut row = 0;
        while row < weights.len() {
            let (weights, sums) = (&weights[row..], &mut sums[row * (self.row + 1)..]);
            row += match weights.len() {
                1 => self.add_block::<S, 1>(s, weights, sums),
                2 | 3 => self.add_block::<S, 2>(s, weights, sums),
                _ => self.add_block::<S, 4>(s, weights, sums),
            };
        }
    }

    /// Gives the number of rows.
    #[inline(always)]
    fn add_block<S: Simd, const R: usize>(&self, s: S, weights: &[Row], sums: &mut [Lanes]) -> usize {
        let Some(weights) = weights.first_chunk::<R>() else { return R };
        let mut column = 0;
        while column + COLUMNS <= self.row {
            self.add_columns::<S, R, COLUMNS>(s, column, weights, sums);
            column += COLUMNS;
        }
        while column < self.row {
            self.add_columns::<S, R, 1>(s, column, weights, sums);
            column += 1;
        }
        R
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
        let stride = self.row + 1;
        let mut totals = [[s.splat(0.0); C]; R];
        for r in 0..R {
            let Some(sums) = sums[r * stride + column..].first_chunk::<C>() else { return };
            for c in 0..C {
                totals[r][c] = s.load(&sums[c]);
            }
        }
        for run in self.runs {
            let mut line = run.line + column;
            for at in run.at..run.at + run.len {
                let Some(lines) = self.lines[line..].first_chunk::<C>() else { return };
                line += self.row;
                let mut values = [s.splat(0.0); C];
                for c in 0..C {
                    values[c] = E::load(s, &lines[c]);
                }
                for r in 0..R {
                    let weight = s.splat(weights[r].as_flattened()[at]);
                    for c in 0..C {
                        totals[r][c] = s.fma(weight, values[c], totals[r][c]);
                    }
                }
            }
        }
        for r in 0..R {
            let Some(sums) = sums[r * stride + column..].first_chunk_mut::<C>() else { return };
            for c in 0..C {
                s.store(totals[r][c], &mut sums[c]);
            }
        }
    }
}
