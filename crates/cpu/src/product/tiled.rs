//! Many columns: a tile of weights is unpacked once, then multiplied with all columns.

use super::*;

impl<F: Format> Integer<'_, F> {
    #[inline(always)]
    pub(super) fn tiled<S: Simd>(self, s: S) {
        self.out.fill([[0.0; LANES]; 2]);
        let mut tiles = [Tile::ZERO, Tile::ZERO];
        let count = self.panels[0].len().div_ceil(Self::TILE_BYTES);
        for (t, columns) in self.activations.chunks(self.stride).enumerate().take(count) {
            let mut groups = 0;
            for (p, unpacked) in tiles.iter_mut().enumerate().take(self.count) {
                let (tile, ahead) = (Self::tile(self.panels[p], t), self.ahead(p, t + 1));
                for (i, block) in tile.chunks_exact(F::BYTES).enumerate().take(TILE / F::VALUES) {
                    unpacked.unpack::<S, F>(s, block, i, ahead.wrapping_add(F::BYTES * i));
                }
                groups = tile.len() / F::BYTES * (F::VALUES / F::GROUP);
            }
            let columns = &columns[self.first..][..self.out.len()];
            if const { S::TILE.0 == 2 } && self.count == 2 {
                multiply_all::<S, F, 2>(s, [&tiles[0], &tiles[1]], groups, columns, self.out, 0);
            } else {
                for (panel, tile) in tiles.iter().enumerate().take(self.count) {
                    multiply_all::<S, F, 1>(s, [tile], groups, columns, self.out, panel);
                }
            }
        }
    }
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
            2 if const { S::TILE.1 >= 2 } => multiply::<S, F, P, 2>(s, tiles, groups, columns, out, panel),
            3 if const { S::TILE.1 >= 3 } => multiply::<S, F, P, 3>(s, tiles, groups, columns, out, panel),
            4 if const { S::TILE.1 >= 4 } => multiply::<S, F, P, 4>(s, tiles, groups, columns, out, panel),
            5 if const { S::TILE.1 >= 5 } => multiply::<S, F, P, 5>(s, tiles, groups, columns, out, panel),
            6 if const { S::TILE.1 >= 6 } => multiply::<S, F, P, 6>(s, tiles, groups, columns, out, panel),
            _ => multiply::<S, F, P, 1>(s, tiles, groups, columns, out, panel),
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
        for n in 0..N {
            for dots in &mut dots {
                dots[n] = s.splat_i(columns[n].start::<S, F>(group));
            }
        }
        for quad in group * quads..(group + 1) * quads {
            for n in 0..N {
                let a = s.quad(columns[n].q[quad]);
                for p in 0..P {
                    dots[p][n] = dot::<S, F>(s, dots[p][n], s.line(&tiles[p].q[quad]), a);
                }
            }
        }
        for p in 0..P {
            let terms = (s.load(&tiles[p].scale[group]), s.load(&tiles[p].offset[group]));
            for n in 0..N {
                sums[p][n] = add::<S, F>(s, sums[p][n], dots[p][n], terms, &columns[n], group);
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
