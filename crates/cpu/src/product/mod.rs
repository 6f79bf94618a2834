//! Matrix products: two panels of rows by any number of columns of activations.
//!
//! There is one path for one column and for five hundred: a tile of weights is unpacked to the first-level cache once, then
//! multiplied with all columns, a few at a time. The order of float operations over the width is fixed, so a column's
//! result does not depend on its neighbours.

use std::marker::PhantomData;

use crate::activations::{Activations, Column};
use crate::format::{Float, Format, TILE, Tile};
use crate::matrix::{Matrix, with_type};
use crate::memory::Memory;
use crate::simd::{Isa, Kernel, LANES, Lanes, Simd};

/// Rows of a unit of work.
pub(crate) const ROWS: usize = 2 * LANES;
/// Columns of a unit's results: what stays in the second-level cache beside the activations.
pub(crate) const COLUMNS: usize = 128;
/// Columns of a small step: its products wait for memory, not for arithmetic.
pub(crate) const FEW: usize = 8;

/// `out[column] = W[32 unit..][..32] a[first + column]` for the columns of `out`. Rows beyond the matrix come out as 0.
pub(crate) fn product(
    isa: Isa,
    (matrix, memory): (&Matrix, &Memory),
    unit: usize,
    activations: &Activations,
    first: usize,
    out: &mut [[Lanes; 2]],
) {
    out.fill([[0.0; LANES]; 2]);
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
        isa.run(Floats::<G> { panels, count, activations, width, out, format: PhantomData })
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
        let tile_bytes = TILE / F::VALUES * F::BYTES;
        let mut tiles = [Tile::ZERO, Tile::ZERO];
        for (t, columns) in
            self.activations.chunks(self.stride).take(self.panels[0].len().div_ceil(tile_bytes)).enumerate()
        {
            let mut groups = 0;
            for (tile, panel) in tiles.iter_mut().zip(self.panels).take(self.count) {
                let bytes = &panel[t * tile_bytes..];
                groups = unpack::<S, F>(s, &bytes[..bytes.len().min(tile_bytes)], tile);
            }
            let columns = &columns[self.first..][..self.out.len()];
            if columns.len() <= FEW {
                for (panel, next) in self.panels.iter().zip(self.next) {
                    let rest = &panel[panel.len().min((t + 1) * tile_bytes)..];
                    let next = if rest.is_empty() { next } else { rest };
                    for line in next[..next.len().min(tile_bytes)].chunks(64) {
                        s.prefetch(&line[0]);
                    }
                }
            }
            if self.count == 2 && S::TILE.0 == 2 {
                multiply_all::<S, F, 2>(s, [&tiles[0], &tiles[1]], groups, columns, self.out, 0);
            } else {
                for (panel, tile) in tiles.iter().enumerate().take(self.count) {
                    multiply_all::<S, F, 1>(s, [tile], groups, columns, self.out, panel);
                }
            }
        }
    }
}

/// Unpacks the blocks of a tile, and says how many groups they have.
#[inline(always)]
fn unpack<S: Simd, F: Format>(s: S, bytes: &[u8], tile: &mut Tile) -> usize {
    let mut blocks = 0;
    for blocks_of_rows in bytes.chunks_exact(F::BYTES) {
        F::unpack(s, blocks_of_rows, tile.block::<F>(blocks));
        blocks += 1;
    }
    blocks * (F::VALUES / F::GROUP)
}

/// Multiplies with all columns, as many at a time as registers hold.
#[inline(always)]
fn multiply_all<S: Simd, F: Format, const P: usize>(
    s: S,
    tiles: [&Tile; P],
    groups: usize,
    columns: &[Column],
    out: &mut [[Lanes; 2]],
    panel: usize,
) {
    let mut at = 0;
    while at < columns.len() {
        let (columns, out) = (&columns[at..], &mut out[at..]);
        at += match columns.len().min(S::TILE.1) {
            1 => multiply::<S, F, P, 1>(s, tiles, groups, columns, out, panel),
            2 => multiply::<S, F, P, 2>(s, tiles, groups, columns, out, panel),
            3 => multiply::<S, F, P, 3>(s, tiles, groups, columns, out, panel),
            4 => multiply::<S, F, P, 4>(s, tiles, groups, columns, out, panel),
            5 => multiply::<S, F, P, 5>(s, tiles, groups, columns, out, panel),
            _ => multiply::<S, F, P, 6>(s, tiles, groups, columns, out, panel),
        };
    }
}

/// `out[n][panel + p] += tiles[p] . columns[n]`; gives the number of columns.
#[inline(always)]
fn multiply<S: Simd, F: Format, const P: usize, const N: usize>(
    s: S,
    tiles: [&Tile; P],
    groups: usize,
    columns: &[Column],
    out: &mut [[Lanes; 2]],
    panel: usize,
) -> usize {
    let (Some(columns), Some(out)) = (columns.first_chunk::<N>(), out.first_chunk_mut::<N>()) else { return N };
    let quads = F::GROUP / 4;
    let mut sums = [[s.splat(0.0); N]; P];
    for group in 0..groups.min(TILE / F::GROUP) {
        let mut dots = [[s.splat_i(0); N]; P];
        if F::SIGNED && S::SIGNED_BIAS != 0 {
            for n in 0..N {
                let bias = if F::GROUP == 16 { columns[n].bias16[group] } else { columns[n].bias32[group] };
                for dots in &mut dots {
                    dots[n] = s.splat_i(bias);
                }
            }
        }
        for quad in group * quads..(group + 1) * quads {
            for n in 0..N {
                let a = s.quad(columns[n].q[quad]);
                for p in 0..P {
                    let weights = s.line(&tiles[p].q[quad]);
                    dots[p][n] = match F::SIGNED {
                        true => s.dot4_signed(dots[p][n], weights, a),
                        false => s.dot4(dots[p][n], weights, a),
                    };
                }
            }
        }
        for p in 0..P {
            let scale = s.load(&tiles[p].scale[group]);
            for n in 0..N {
                let scale = if F::BLOCKWISE { s.mul(scale, s.splat(columns[n].group[group])) } else { scale };
                sums[p][n] = s.fma(s.to_f(dots[p][n]), scale, sums[p][n]);
                if !F::SIGNED {
                    let sum = if F::GROUP == 16 { columns[n].sum16[group] } else { columns[n].sum32[group] };
                    sums[p][n] = s.fma(s.load(&tiles[p].offset[group]), s.splat(sum), sums[p][n]);
                }
            }
        }
    }
    for p in 0..P {
        for n in 0..N {
            let to = &mut out[n][panel + p];
            s.store(s.fma(sums[p][n], s.splat(columns[n].scale), s.load(to)), to);
        }
    }
    N
}

struct Floats<'a, F> {
    panels: [&'a [u8]; 2],
    count: usize,
    /// `[columns, width]`
    activations: &'a [f32],
    width: usize,
    out: &'a mut [[Lanes; 2]],
    format: PhantomData<F>,
}

impl<F: Float> Kernel for Floats<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { panels, count, activations, width, out, .. } = self;
        let mut at = 0;
        while at < out.len() {
            let (a, out) = (&activations[at * width..], &mut out[at..]);
            at += match out.len().min(S::TILE.1) {
                1 => multiply_floats::<S, F, 1>(s, panels, count, a, width, out),
                2 => multiply_floats::<S, F, 2>(s, panels, count, a, width, out),
                3 => multiply_floats::<S, F, 3>(s, panels, count, a, width, out),
                4 => multiply_floats::<S, F, 4>(s, panels, count, a, width, out),
                5 => multiply_floats::<S, F, 5>(s, panels, count, a, width, out),
                _ => multiply_floats::<S, F, 6>(s, panels, count, a, width, out),
            };
        }
    }
}

#[inline(always)]
fn multiply_floats<S: Simd, F: Float, const N: usize>(
    s: S,
    panels: [&[u8]; 2],
    count: usize,
    a: &[f32],
    width: usize,
    out: &mut [[Lanes; 2]],
) -> usize {
    let rows: [&[f32]; N] = std::array::from_fn(|n| &a[n * width..][..width]);
    let bytes = LANES * F::BYTES;
    let mut sums = [[s.splat(0.0); N]; 2];
    let lines = panels.map(|panel| &panel[..width * bytes]);
    for k in 0..width {
        let weights = [F::load(s, &lines[0][k * bytes..][..bytes]), F::load(s, &lines[1][k * bytes..][..bytes])];
        for n in 0..N {
            let a = s.splat(rows[n][k]);
            for p in 0..2 {
                sums[p][n] = s.fma(weights[p], a, sums[p][n]);
            }
        }
    }
    for (n, out) in out.iter_mut().enumerate().take(N) {
        for p in 0..count {
            s.store(sums[p][n], &mut out[p]);
        }
    }
    N
}

#[cfg(test)]
mod tests;
