//! Matrix products: two panels of rows by any number of columns of activations.
//!
//! For many columns, a tile of weights is unpacked to the first-level cache once, then multiplied with all of them, some at
//! a time. For a few, weights go through registers only: memory is then what limits. The order of float operations over the
//! width is the same, so a column's result does not depend on its neighbours.

mod direct;
mod floats;
mod tiled;

use std::marker::PhantomData;

use crate::activations::{Activations, Column};
use crate::format::{Float, Format, TILE, Terms, Tile};
use crate::matrix::{Matrix, with_type};
use crate::memory::Memory;
use crate::simd::{Isa, Kernel, LANES, Lanes, Simd};

/// Rows of a unit of work.
pub(crate) const ROWS: usize = 2 * LANES;
/// Columns of a unit's results: what stays in the first-level cache beside the tiles.
pub(crate) const COLUMNS: usize = 120;
/// Bytes of activations that all units multiply before the next ones: what stays in the second-level cache beside the weights.
const CACHED: usize = 1 << 20;
/// Columns of a small step: its products wait for memory, not for arithmetic.
pub(crate) const FEW: usize = 8;

/// Bounds of the bands of columns that all units multiply one after the other, each at most `most` columns: even, and small enough
/// to stay in the cache.
pub(crate) fn bands(activations: &Activations, most: usize) -> Vec<usize> {
    // What kernels keep in registers together is a divisor of this.
    const STEP: usize = 12;
    let cached = CACHED / (activations.width.div_ceil(TILE) * size_of::<Column>());
    let most = most.min((cached / STEP * STEP).max(STEP));
    let rows = activations.rows;
    let step = rows.div_ceil(rows.div_ceil(most).max(1)).next_multiple_of(STEP).clamp(1, most);
    (0..rows).step_by(step).chain([rows]).collect()
}

/// `out[column] = W[32 unit..][..32] a[first + column]` for the columns of `out`. Rows beyond the matrix come out as 0.
pub(crate) fn product(
    isa: Isa,
    (matrix, memory): (&Matrix, &Memory),
    unit: usize,
    activations: &Activations,
    first: usize,
    out: &mut [[Lanes; 2]],
) {
    let count = 2.min(matrix.panels() - 2 * unit);
    let panels = std::array::from_fn(|i| matrix.panel(memory, 2 * unit + i.min(count - 1)));
    let last = matrix.panels() - 1;
    let next = std::array::from_fn(|i| matrix.panel(memory, last.min(2 * unit + 2 + i)));
    with_type!(matrix.block,
    F => {
        let (activations, stride) = (activations.columns(F::BLOCKWISE), activations.rows);
        isa.run(Integer::<F> { panels, next, count, activations, stride, first, out, format: PhantomData })
    },
    G => {
        let (activations, width) = (&activations.float[first * matrix.width..], matrix.width);
        isa.run(floats::Floats::<G> { panels, count, activations, width, out, format: PhantomData })
    })
}

struct Integer<'a, F> {
    panels: [&'a [u8]; 2],
    /// Those of the unit that a thread comes to next.
    next: [&'a [u8]; 2],
    count: usize,
    /// `[tiles, stride]`
    activations: &'a [Column],
    stride: usize,
    first: usize,
    out: &'a mut [[Lanes; 2]],
    format: PhantomData<F>,
}

impl<F: Format> Kernel for Integer<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // What a set does not use is not compiled for it.
        match self.out.len() {
            1 => self.direct::<S, 1>(s),
            2 if const { S::DIRECT >= 2 } => self.direct::<S, 2>(s),
            3 if const { S::DIRECT >= 3 } => self.direct::<S, 3>(s),
            4 if const { S::DIRECT >= 4 } => self.direct::<S, 4>(s),
            _ => self.tiled(s),
        }
    }
}

impl<'a, F: Format> Integer<'a, F> {
    const TILE_BYTES: usize = TILE / F::VALUES * F::BYTES;

    /// Tile `t` of a panel; the last may be shorter.
    #[inline(always)]
    fn tile(panel: &[u8], t: usize) -> &[u8] {
        let rest = &panel[t * Self::TILE_BYTES..];
        &rest[..rest.len().min(Self::TILE_BYTES)]
    }

    /// Where tile `t` of a panel is, in the next unit's if the panel ends before it.
    #[inline(always)]
    fn ahead(&self, panel: usize, t: usize) -> *const u8 {
        let (at, own) = (t * Self::TILE_BYTES, self.panels[panel]);
        match at < own.len() {
            true => own.as_ptr().wrapping_add(at),
            false => self.next[panel].as_ptr().wrapping_add(at - own.len()),
        }
    }
}

impl Column {
    /// What the sum of a group starts from.
    #[inline(always)]
    fn start<S: Simd, F: Format>(&self, group: usize) -> i32 {
        match F::ZERO {
            32 => self.start16[group],
            128 if S::SIGNED_BIAS != 0 => self.start32[group],
            _ => 0,
        }
    }
}

/// `acc + weights . a`
#[inline(always)]
fn dot<S: Simd, F: Format>(s: S, acc: S::I, weights: S::B, a: S::B) -> S::I {
    match F::ZERO {
        128 => s.dot4_signed(acc, weights, a),
        _ => s.dot4(acc, weights, a),
    }
}

/// `sum + dot * scale + offset * (sum of the group's activations)`
#[inline(always)]
fn add<S: Simd, F: Format>(
    s: S,
    sum: S::F,
    dot: S::I,
    (scale, offset): Terms<S>,
    column: &Column,
    group: usize,
) -> S::F {
    let scale = if F::BLOCKWISE { s.mul(scale, s.splat(column.group[group])) } else { scale };
    let sum = s.fma(s.to_f(dot), scale, sum);
    match (F::ZERO, F::GROUP) {
        (0, 16) => s.fma(offset, s.splat(column.sum16[group]), sum),
        (0, _) => s.fma(offset, s.splat(column.sum32[group]), sum),
        _ => sum,
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
