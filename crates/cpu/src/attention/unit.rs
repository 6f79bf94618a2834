//! What one unit of attention reads: the queries of a band on one kv head, and the keys they see.

use std::ops::Range;

use plimsoll_backend::Sequence;
use plimsoll_model::{Gqa, Span};

use super::CHUNK;
use crate::cache::Layout;
use crate::simd::LANES;

/// A band and a kv head. Rows are tokens, and in each the heads of the group.
pub(super) struct Unit<'a, E> {
    pub(super) gqa: &'a Gqa,
    pub(super) layout: Layout,
    pub(super) sequence: &'a Sequence,
    /// Positions of the band's tokens.
    pub(super) positions: Range<usize>,
    pub(super) head: usize,
    /// Queries of the tokens, all heads.
    pub(super) q: &'a [f32],
    /// The kv head's part of the cache.
    pub(super) lines: &'a [[E; LANES]],
    pub(super) scales: &'a [f32],
}

/// Keys that the query at `position` sees.
fn visible(span: Span, position: usize) -> Range<usize> {
    let first = match span {
        Span::Full => 0,
        Span::Window(window) => (position + 1).saturating_sub(window),
    };
    first..position + 1
}

/// The chunks that the queries at `positions` see.
pub(super) fn chunks(span: Span, positions: Range<usize>) -> Range<usize> {
    visible(span, positions.start).start / CHUNK..positions.end.div_ceil(CHUNK)
}

/// Sixteen keys of which some are in the chunk.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Place of lane 0 in a row of scores.
    pub(super) at: usize,
    /// First line, and the scale of lane 0.
    pub(super) line: usize,
    pub(super) scale: usize,
    /// First line of the values beside them.
    pub(super) values: usize,
}

/// Positions of a chunk whose weights and whose values lie next to each other.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// Place of the first weight.
    pub(super) at: usize,
    /// First line and first scale of the values.
    pub(super) line: usize,
    pub(super) scale: usize,
    pub(super) len: usize,
}

impl<E> Unit<'_, E> {
    pub(super) fn group(&self) -> usize {
        self.gqa.heads / self.gqa.kv_heads
    }

    pub(super) fn rows(&self) -> usize {
        self.positions.len() * self.group()
    }

    pub(super) fn chunks(&self) -> Range<usize> {
        chunks(self.gqa.span, self.positions.clone())
    }

    /// The keys of a chunk that any row sees.
    pub(super) fn keys(&self, chunk: usize) -> Range<usize> {
        let first = visible(self.gqa.span, self.positions.start).start.max(chunk * CHUNK);
        first..self.positions.end.min((chunk + 1) * CHUNK)
    }

    /// The keys of a chunk that a row sees, as places in its scores; empty if it sees none.
    pub(super) fn visible(&self, row: usize, chunk: usize) -> Range<usize> {
        let all = visible(self.gqa.span, self.positions.start + row / self.group());
        let (first, end) = (chunk * CHUNK, (chunk + 1) * CHUNK);
        let keys = all.start.clamp(first, end)..all.end.clamp(first, end);
        keys.start + LANES - first..keys.end + LANES - first
    }

    /// Lists the tiles of a chunk and the values beside them, in ascending order.
    ///
    /// Scores begin one vector into their row, because the tile of the first key may begin before the chunk.
    pub(super) fn walk(&self, chunk: usize, tiles: &mut Vec<Tile>, runs: &mut Vec<Run>) {
        tiles.clear();
        runs.clear();
        let keys = self.keys(chunk);
        let mut position = keys.start;
        while position < keys.end {
            let place = self.layout.place(self.sequence.slot(position, self.layout.block));
            let left = self.layout.block - position % self.layout.block;
            let len = left.min(LANES - place.lane).min(keys.end - position);
            let at = position + LANES - chunk * CHUNK;
            tiles.push(Tile { at: at - place.lane, line: place.keys, scale: place.key_scales, values: place.values });
            runs.push(Run { at, line: place.values, scale: place.value_scale, len });
            position += len;
        }
    }
}
