//! Scores of a chunk's keys, and their exponentials.

use std::array::from_fn;
use std::ops::Range;

use super::unit::Tile;
use super::{CHUNK, ROWS};
use crate::element::{Element, Load};
use crate::simd::{LANES, Lanes, Simd, exp, max_lanes, sum_lanes};

/// A chunk's scores of one row, with a vector to spare at both ends.
pub(super) type Row = [Lanes; CHUNK / LANES + 2];

/// Tiles of keys that stay in the nearest cache while all rows pass.
const TILES: usize = 4;
/// Rows from which it pays to convert keys and values to f32 once for all.
pub(super) const WIDE: usize = 8;

/// The keys of a chunk.
pub(super) struct Keys<'a, E> {
    pub(super) dim: usize,
    pub(super) lines: &'a [[E; LANES]],
    pub(super) scales: &'a [f32],
    pub(super) tiles: &'a [Tile],
}

impl<E: Element> Keys<'_, E> {
    /// Scores of the queries `q: [rows, dim]`; `wide` is room for [`TILES`] tiles of f32.
    #[inline(always)]
    pub(super) fn score<S: Simd>(&self, s: S, q: &[f32], wide: &mut Vec<Lanes>, scores: &mut [Row]) {
        let (groups, rest) = self.tiles.as_chunks::<TILES>();
        for group in groups {
            self.score_tiles(s, group, q, wide, scores);
        }
        for tile in rest {
            self.score_tiles(s, &[*tile], q, wide, scores);
        }
    }

    #[inline(always)]
    fn score_tiles<S: Simd, const T: usize>(
        &self,
        s: S,
        tiles: &[Tile; T],
        q: &[f32],
        wide: &mut Vec<Lanes>,
        scores: &mut [Row],
    ) {
        let keys: [&[[E; LANES]]; T] = from_fn(|t| &self.lines[tiles[t].line..][..self.dim]);
        if scores.len() < WIDE {
            self.score_rows(s, tiles, keys, q, scores);
            return;
        }
        wide.resize(wide.len().max(T * self.dim), [0.0; LANES]);
        for (keys, wide) in keys.iter().zip(wide.chunks_exact_mut(self.dim)) {
            widen(s, keys, wide);
        }
        let keys: [&[Lanes]; T] = from_fn(|t| &wide[t * self.dim..][..self.dim]);
        self.score_rows(s, tiles, keys, q, scores);
    }

    #[inline(always)]
    fn score_rows<S: Simd, K: Load, const T: usize>(
        &self,
        s: S,
        tiles: &[Tile; T],
        keys: [&[[K; LANES]]; T],
        q: &[f32],
        scores: &mut [Row],
    ) {
        let (fours, rest) = scores.as_chunks_mut::<4>();
        let (q_fours, q) = q.split_at(fours.len() * 4 * self.dim);
        for (scores, q) in fours.iter_mut().zip(q_fours.chunks_exact(4 * self.dim)) {
            self.score_block(s, tiles, keys, q, scores);
        }
        let (twos, rest) = rest.as_chunks_mut::<2>();
        let (q_twos, q) = q.split_at(twos.len() * 2 * self.dim);
        for (scores, q) in twos.iter_mut().zip(q_twos.chunks_exact(2 * self.dim)) {
            self.score_block(s, tiles, keys, q, scores);
        }
        for (scores, q) in rest.iter_mut().zip(q.chunks_exact(self.dim)) {
            self.score_block(s, tiles, keys, q, std::array::from_mut(scores));
        }
    }

    /// `R` rows against `T` tiles in registers, every score a chain over `dim`.
    #[inline(always)]
    fn score_block<S: Simd, K: Load, const R: usize, const T: usize>(
        &self,
        s: S,
        tiles: &[Tile; T],
        keys: [&[[K; LANES]]; T],
        q: &[f32],
        scores: &mut [Row; R],
    ) {
        let dim = self.dim;
        let lines: [&[[K; LANES]]; T] = from_fn(|t| &keys[t][..dim]);
        let q: [&[f32]; R] = from_fn(|r| &q[r * dim..][..dim]);
        let mut sums = [[s.splat(0.0); T]; R];
        for d in 0..dim {
            let mut keys = [s.splat(0.0); T];
            for (key, lines) in keys.iter_mut().zip(lines) {
                *key = K::load(s, &lines[d]);
            }
            for (sums, q) in sums.iter_mut().zip(q) {
                let q = s.splat(q[d]);
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum = s.fma(q, key, *sum);
                }
            }
        }
        for (scores, sums) in scores.iter_mut().zip(sums) {
            for (tile, sum) in tiles.iter().zip(sums) {
                let scaled = if E::SCALED { s.mul(sum, self.scale(s, tile)) } else { sum };
                // Scores of positions that are not the tile's are overwritten by the next one, or masked.
                s.store(scaled, vector_at(scores.as_flattened_mut(), tile.at));
            }
        }
    }

    #[inline(always)]
    fn scale<S: Simd>(&self, s: S, tile: &Tile) -> S::F {
        let mut scales = [0.0; LANES];
        scales.copy_from_slice(&self.scales[tile.scale..][..LANES]);
        s.load(&scales)
    }
}

/// The sixteen floats at a place.
#[inline(always)]
fn vector_at(row: &mut [f32], at: usize) -> &mut Lanes {
    &mut row[at..].as_chunks_mut().0[0]
}

/// Converts lines to f32.
#[inline(always)]
pub(super) fn widen<S: Simd, K: Load>(s: S, from: &[[K; LANES]], to: &mut [Lanes]) {
    for (from, to) in from.iter().zip(to) {
        s.store(K::load(s, from), to);
    }
}

/// Turns the visible scores of a row into `e^(score - max)` and all others of `keys` into 0; returns max and sum.
///
/// Values have scales, if any, in `value_scales`: they are multiplied into the result, not into the sum.
#[inline(always)]
pub(super) fn soften<S: Simd>(
    s: S,
    row: &mut Row,
    visible: Range<usize>,
    keys: Range<usize>,
    value_scales: Option<&Row>,
) -> (f32, f32) {
    if visible.is_empty() {
        row.as_flattened_mut()[keys].fill(0.0);
        return (f32::NEG_INFINITY, 0.0);
    }
    let (first, end) = (visible.start / LANES, visible.end.div_ceil(LANES));
    let flat = row.as_flattened_mut();
    flat[first * LANES..visible.start].fill(f32::NEG_INFINITY);
    flat[visible.end..end * LANES].fill(f32::NEG_INFINITY);
    flat[keys.start.min(first * LANES)..first * LANES].fill(0.0);
    flat[end * LANES..keys.end.max(end * LANES)].fill(0.0);
    let mut most = s.splat(f32::NEG_INFINITY);
    for scores in &row[first..end] {
        most = s.max(s.load(scores), most);
    }
    let most = max_lanes(s, most);
    let (shift, mut sum) = (s.splat(most), s.splat(0.0));
    for (i, scores) in row[first..end].iter_mut().enumerate() {
        let weight = exp(s, s.sub(s.load(scores), shift));
        sum = s.add(sum, weight);
        let scaled = match value_scales {
            Some(scales) => s.mul(weight, s.load(&scales[first + i])),
            None => weight,
        };
        s.store(scaled, scores);
    }
    (most, sum_lanes(s, sum))
}

const _: () = assert!(CHUNK.is_multiple_of(LANES) && ROWS >= WIDE);
