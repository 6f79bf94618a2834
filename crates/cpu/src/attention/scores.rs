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
            let values = from_fn(|t| &self.lines[tiles[t].values..]);
            self.score_rows(s, tiles, keys, q, scores, values);
            return;
        }
        wide.resize(wide.len().max(T * self.dim), [0.0; LANES]);
        for (keys, wide) in keys.iter().zip(wide.chunks_exact_mut(self.dim)) {
            widen(s, keys, wide);
        }
        let keys: [&[Lanes]; T] = from_fn(|t| &wide[t * self.dim..][..self.dim]);
        self.score_rows(s, tiles, keys, q, scores, [&[]; T]);
    }

    /// `ahead` is what will be read next: it is fetched while the first rows are multiplied.
    #[inline(always)]
    fn score_rows<S: Simd, K: Load, const T: usize>(
        &self,
        s: S,
        tiles: &[Tile; T],
        keys: [&[[K; LANES]]; T],
        q: &[f32],
        scores: &mut [Row],
        mut ahead: [&[[E; LANES]]; T],
    ) {
        let mut row = 0;
        while row < scores.len() {
            let (q, scores) = (&q[row * self.dim..], &mut scores[row..]);
            row += match scores.len() {
                1 => self.score_block::<S, K, 1, T>(s, tiles, keys, q, scores, ahead),
                2 | 3 => self.score_block::<S, K, 2, T>(s, tiles, keys, q, scores, ahead),
                _ => self.score_block::<S, K, 4, T>(s, tiles, keys, q, scores, ahead),
            };
            ahead = [&[]; T];
        }
    }

    /// `R` rows against `T` tiles in registers, every score a chain over `dim`; gives `R`.
    #[inline(always)]
    fn score_block<S: Simd, K: Load, const R: usize, const T: usize>(
        &self,
        s: S,
        tiles: &[Tile; T],
        keys: [&[[K; LANES]]; T],
        q: &[f32],
        scores: &mut [Row],
        ahead: [&[[E; LANES]]; T],
    ) -> usize {
        let Some(scores) = scores.first_chunk_mut::<R>() else { return R };
        let dim = self.dim;
        let (mut lines, mut rows) = (keys, [q; R]);
        for t in 0..T {
            lines[t] = &keys[t][..dim];
        }
        for r in 0..R {
            rows[r] = &q[r * dim..][..dim];
        }
        let mut sums = [[s.splat(0.0); T]; R];
        for d in 0..dim {
            let mut keys = [s.splat(0.0); T];
            for t in 0..T {
                keys[t] = K::load(s, &lines[t][d]);
                if let Some(line) = ahead[t].get(d) {
                    s.prefetch(std::ptr::from_ref(line).cast());
                }
            }
            for r in 0..R {
                let q = s.splat(rows[r][d]);
                for t in 0..T {
                    sums[r][t] = s.fma(q, keys[t], sums[r][t]);
                }
            }
        }
        for t in 0..T {
            let scale = if E::SCALED { self.scale(s, &tiles[t]) } else { s.splat(1.0) };
            for r in 0..R {
                let scaled = if E::SCALED { s.mul(sums[r][t], scale) } else { sums[r][t] };
                // Scores of positions that are not the tile's are overwritten by the next one, or masked.
                s.store(scaled, vector_at(scores[r].as_flattened_mut(), tiles[t].at));
            }
        }
        R
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
