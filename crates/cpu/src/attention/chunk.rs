//! One chunk of one unit, and all chunks of one.

use super::CHUNK;
use super::merge::{self, Merged};
use super::scores::{Keys, Row, soften};
use super::unit::{Run, Tile, Unit};
use super::values::Values;
use crate::element::Element;
use crate::shared::Strip;
use crate::simd::{Kernel, LANES, Lanes, Simd};

/// What a unit writes on the way.
#[derive(Default)]
pub(super) struct Room {
    /// Scaled queries, `[rows, head_dim]`.
    q: Vec<f32>,
    tiles: Vec<Tile>,
    runs: Vec<Run>,
    scores: Vec<Row>,
    value_scales: Row,
    /// Keys or values in f32.
    wide: Vec<Lanes>,
    partial: Vec<Lanes>,
    pub(super) merged: Merged,
}

/// Computes all chunks of a unit and merges them as they come.
pub(super) struct All<'a, E> {
    pub(super) unit: Unit<'a, E>,
    pub(super) room: &'a mut Room,
    pub(super) y: Strip<'a, f32>,
}

/// Computes one chunk of a unit.
pub(super) struct Chunk<'a, E> {
    pub(super) unit: Unit<'a, E>,
    pub(super) chunk: usize,
    pub(super) room: &'a mut Room,
    pub(super) partial: &'a mut [Lanes],
}

impl<E: Element> Kernel for All<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { unit, room, mut y } = self;
        let lines = unit.rows() * merge::lines(unit.layout);
        room.load_queries(&unit);
        room.merged.clear(unit.layout, unit.rows());
        let mut partial = std::mem::take(&mut room.partial);
        partial.resize(partial.len().max(lines), [0.0; LANES]);
        for chunk in unit.chunks() {
            room.sum(s, &unit, chunk, &mut partial[..lines]);
            room.merged.add(s, unit.layout, &partial[..lines]);
        }
        room.partial = partial;
        room.merged.finish(s, &unit, &mut y);
    }
}

impl<E: Element> Kernel for Chunk<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lines = self.unit.rows() * merge::lines(self.unit.layout);
        self.room.load_queries(&self.unit);
        self.room.sum(s, &self.unit, self.chunk, &mut self.partial[..lines]);
    }
}

impl Room {
    fn load_queries<E>(&mut self, unit: &Unit<'_, E>) {
        let (width, strip) = (unit.gqa.q_width(), unit.group() * unit.gqa.head_dim);
        self.q.clear();
        for token in unit.q.chunks_exact(width) {
            self.q.extend(token[unit.head * strip..][..strip].iter().map(|q| q * unit.gqa.scale));
        }
    }

    /// Partial sums of every row over a chunk, `[rows, merge::lines]`.
    #[inline(always)]
    fn sum<S: Simd, E: Element>(&mut self, s: S, unit: &Unit<'_, E>, chunk: usize, partial: &mut [Lanes]) {
        let Self { q, tiles, runs, scores, value_scales, wide, .. } = self;
        unit.walk(chunk, tiles, runs);
        partial.fill([0.0; LANES]);
        scores.resize(scores.len().max(unit.rows()), Row::default());
        let scores = &mut scores[..unit.rows()];
        let (lines, row) = (unit.lines, unit.layout.row());
        Keys { dim: unit.layout.dim, lines, scales: unit.scales, tiles }.score(s, q, wide, scores);
        if E::SCALED {
            for run in runs.iter() {
                let scales = &unit.scales[run.scale..][..run.len];
                value_scales.as_flattened_mut()[run.at..][..run.len].copy_from_slice(scales);
            }
        }
        let keys = unit.keys(chunk);
        let keys = keys.start + LANES - chunk * CHUNK..keys.end + LANES - chunk * CHUNK;
        let value_scales = E::SCALED.then_some(&*value_scales);
        for (i, scores) in scores.iter_mut().enumerate() {
            let (max, sum) = soften(s, scores, unit.visible(i, chunk), keys.clone(), value_scales);
            let last = &mut partial[(i + 1) * merge::lines(unit.layout) - 1];
            (last[merge::MAX], last[merge::SUM]) = (max, sum);
        }
        Values { row, lines, runs }.add(s, scores, wide, partial);
    }
}
