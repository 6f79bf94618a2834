//! Merging the partial sums of chunks, in ascending order.
//!
//! Partial sums of a row are the lines of its weighted values, then one with the largest score and the sum of weights.

use super::chunk::Room;
use super::unit::Unit;
use crate::cache::Layout;
use crate::shared::Strip;
use crate::simd::{Kernel, LANES, Lanes, Simd, exp};

/// Lanes of the last line.
pub(super) const MAX: usize = 0;
pub(super) const SUM: usize = 1;

/// Lines of the partial sums of one row.
pub(super) fn lines(layout: Layout) -> usize {
    layout.row() + 1
}

/// Sums of the rows of a unit over the chunks so far.
#[derive(Default)]
pub(super) struct Merged(Vec<Lanes>);

/// Merges chunks that others have computed.
pub(super) struct Merge<'a, 'r, E, P> {
    pub(super) unit: Unit<'a, E>,
    /// Partial sums of its chunks in ascending order.
    pub(super) partials: P,
    pub(super) room: &'r mut Room,
    pub(super) y: Strip<'a, f32>,
}

impl<'a, E, P: Iterator<Item = &'a [Lanes]>> Kernel for Merge<'a, '_, E, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { unit, partials, room, mut y } = self;
        let lines = unit.rows() * lines(unit.layout);
        room.merged.clear(unit.layout, unit.rows());
        for partial in partials {
            room.merged.add(s, unit.layout, &partial[..lines]);
        }
        room.merged.finish(s, &unit, &mut y);
    }
}

impl Merged {
    /// Nothing yet in any row.
    pub(super) fn clear(&mut self, layout: Layout, rows: usize) {
        let lines = lines(layout);
        self.0.clear();
        self.0.resize(rows * lines, [0.0; LANES]);
        self.0.chunks_exact_mut(lines).for_each(|row| row[lines - 1][MAX] = f32::NEG_INFINITY);
    }

    /// Adds the partial sums of the next chunk.
    #[inline(always)]
    pub(super) fn add<S: Simd>(&mut self, s: S, layout: Layout, partial: &[Lanes]) {
        let lines = lines(layout);
        for (merged, partial) in self.0.chunks_exact_mut(lines).zip(partial.chunks_exact(lines)) {
            add_row(s, merged, partial);
        }
    }

    /// Divides by the sums of weights and writes the rows.
    #[inline(always)]
    pub(super) fn finish<S: Simd, E>(&mut self, s: S, unit: &Unit<'_, E>, y: &mut Strip<'_, f32>) {
        let (lines, dim) = (lines(unit.layout), unit.layout.dim);
        for (token, rows) in self.0.chunks_exact_mut(unit.group() * lines).enumerate() {
            for (y, row) in y.row(token).chunks_exact_mut(dim).zip(rows.chunks_exact_mut(lines)) {
                let total = s.splat(row[lines - 1][SUM]);
                for line in row.iter_mut() {
                    s.store(s.div(s.load(line), total), line);
                }
                y.copy_from_slice(&row.as_flattened()[..dim]);
            }
        }
    }
}

/// Brings two sums to the larger one's maximum and adds them.
#[inline(always)]
fn add_row<S: Simd>(s: S, merged: &mut [Lanes], partial: &[Lanes]) {
    let (Some((stats, merged)), Some((other, partial))) = (merged.split_last_mut(), partial.split_last()) else {
        return;
    };
    // The row sees nothing of this chunk.
    if other[MAX] == f32::NEG_INFINITY {
        return;
    }
    let most = if other[MAX] > stats[MAX] { other[MAX] } else { stats[MAX] };
    let (old, new) = (exp(s, s.splat(stats[MAX] - most)), exp(s, s.splat(other[MAX] - most)));
    for (merged, partial) in merged.iter_mut().zip(partial) {
        s.store(s.fma(s.load(partial), new, s.mul(s.load(merged), old)), merged);
    }
    s.store(s.fma(s.splat(other[SUM]), new, s.mul(s.splat(stats[SUM]), old)), stats);
    stats[MAX] = most;
}
