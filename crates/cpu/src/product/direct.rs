//! A few columns: weights go from memory through registers, and are multiplied with all columns on the way.
#![allow(clippy::needless_range_loop)] // Loops over registers are to be unrolled.

use super::*;

impl<F: Format> Integer<'_, F> {
    /// Products with `N` columns, the panels' tiles in turn: memory is read at two places at once.
    #[inline(always)]
    pub(super) fn direct<S: Simd, const N: usize>(self, s: S) {
        let mut totals = [[s.splat(0.0); N]; 2];
        let tiles = self.panels[0].len().div_ceil(Self::TILE_BYTES);
        for (t, columns) in self.activations.chunks(self.stride).enumerate().take(tiles) {
            let Some(columns) = columns[self.first..].first_chunk::<N>() else { return };
            for p in 0..2 {
                if p >= self.count {
                    break;
                }
                let ahead = self.ahead(p, t + 1);
                let sums = tile::<S, F, N>(s, Self::tile(self.panels[p], t), columns, ahead);
                for n in 0..N {
                    totals[p][n] = s.fma(sums[n], s.splat(columns[n].scale), totals[p][n]);
                }
            }
        }
        for (n, out) in self.out.iter_mut().enumerate().take(N) {
            for p in 0..2 {
                s.store(totals[p][n], &mut out[p]);
            }
        }
    }
}

/// Sums of a tile, without the scales of its columns.
#[inline(always)]
fn tile<S: Simd, F: Format, const N: usize>(s: S, tile: &[u8], columns: &[Column; N], ahead: *const u8) -> [S::F; N] {
    let mut sums = [s.splat(0.0); N];
    for (i, block) in tile.chunks_exact(F::BYTES).enumerate().take(TILE / F::VALUES) {
        let ahead = ahead.wrapping_add(F::BYTES * i);
        // Written out, so that what depends on the part is known when this is compiled.
        for first in (0..F::PARTS).step_by(4) {
            part::<S, F, N>(s, block, (i, first), columns, ahead, &mut sums);
            if F::PARTS > 1 {
                part::<S, F, N>(s, block, (i, first + 1), columns, ahead, &mut sums);
            }
            if F::PARTS > 2 {
                part::<S, F, N>(s, block, (i, first + 2), columns, ahead, &mut sums);
                part::<S, F, N>(s, block, (i, first + 3), columns, ahead, &mut sums);
            }
        }
    }
    sums
}

/// Adds a part of a block, which is whole groups.
#[inline(always)]
fn part<S: Simd, F: Format, const N: usize>(
    s: S,
    block: &[u8],
    (i, part): (usize, usize),
    columns: &[Column; N],
    ahead: *const u8,
    sums: &mut [S::F; N],
) {
    let (quads, groups) = (F::GROUP / 4, 4 * F::SHARED * F::RUN / F::GROUP);
    // The part's first group in the block and in the tile.
    let of_block = groups * part;
    let of_tile = F::VALUES / F::GROUP * i + of_block;
    let ahead = ahead.wrapping_add(F::PART_BYTES * part);
    let mut dots = [[s.splat_i(0); N]; 8];
    for group in 0..groups {
        for n in 0..N {
            dots[group][n] = s.splat_i(columns[n].start::<S, F>(of_tile + group));
        }
    }
    let first = quads * of_tile;
    if F::RUN > quads {
        lines::<S, F, N>(s, block, (part, 0, quads), (columns, first), ahead, &mut dots);
        lines::<S, F, N>(s, block, (part, quads, F::RUN), (columns, first), ahead, &mut dots);
    } else {
        lines::<S, F, N>(s, block, (part, 0, F::RUN), (columns, first), ahead, &mut dots);
    }
    for group in 0..groups {
        let terms = F::terms(s, block, of_block + group);
        for n in 0..N {
            sums[n] = add::<S, F>(s, sums[n], dots[group][n], terms, &columns[n], of_tile + group);
        }
    }
}

/// Adds lines of a part's runs, those of one group each.
#[inline(always)]
fn lines<S: Simd, F: Format, const N: usize>(
    s: S,
    block: &[u8],
    (part, from, to): (usize, usize, usize),
    (columns, first): (&[Column; N], usize),
    ahead: *const u8,
    dots: &mut [[S::I; N]; 8],
) {
    for line in from..to {
        F::prefetch(s, line, ahead);
        let weights = F::lines(s, block, part, line);
        for k in 0..F::SHARED {
            let dots = &mut dots[(F::RUN * k + from) / (F::GROUP / 4)];
            for n in 0..N {
                let a = s.quad(columns[n].q[first + F::RUN * k + line]);
                dots[n] = dot::<S, F>(s, dots[n], weights[k], a);
            }
        }
    }
}
