//! Q2_K and Q3_K: sixteen groups of 16, values of 2 and 3 bits.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, LANES, Simd, TileMut, f16s, field, line, map, scaled, words};

/// `scales[16] | qs[64] | d | dmin`: `d s q - dmin m`, `s` and `m` the nibbles of a scale byte
pub(crate) struct Q2K;

impl Format for Q2K {
    const BLOCK: &'static BlockType = &blocks::Q2_K;
    const FIELDS: &'static [Field] = &[field(4, 4), field(4, 16), field(2, 1), field(2, 1)];
    const VALUES: usize = 256;
    const GROUP: usize = 16;
    const SIGNED: bool = false;
    const BLOCKWISE: bool = false;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, offset)) = tile.sized::<{ Self::BYTES }, 64, 16>(blocks) else { return };
        let (scales, rest) = blocks.split_at(4 * 64);
        let (lines, rest) = rest.split_at(16 * 64);
        let (d, dmin) = (f16s(s, rest), s.sub(s.splat(0.0), f16s(s, &rest[2 * LANES..])));
        for group in 0..16 {
            let (word, shift) = (words(&scales[64 * (group / 4)..][..64]), 8 * (group % 4));
            scaled(s, d, |row| (word[row] >> shift & 15) as i32, &mut scale[group]);
            scaled(s, dmin, |row| (word[row] >> (shift + 4) & 15) as i32, &mut offset[group]);
        }
        for (from, shift, to) in two_bits() {
            let from = line(lines, from);
            map(from, &mut q[to], |byte| byte >> shift & 3);
        }
    }
}

/// `hmask[32] | qs[64] | scales[12] | d`: `d (s - 32) q`, a clear bit of `hmask` subtracts 4 from `q`
pub(crate) struct Q3K;

impl Format for Q3K {
    const BLOCK: &'static BlockType = &blocks::Q3_K;
    const FIELDS: &'static [Field] = &[field(4, 8), field(4, 16), field(4, 3), field(2, 1)];
    const VALUES: usize = 256;
    const GROUP: usize = 16;
    const SIGNED: bool = true;
    const BLOCKWISE: bool = false;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, _)) = tile.sized::<{ Self::BYTES }, 64, 16>(blocks) else { return };
        let (mask, rest) = blocks.split_at(8 * 64);
        let (lines, rest) = rest.split_at(16 * 64);
        let (scales, d) = rest.split_at(3 * 64);
        let (d, word) = (f16s(s, d), |i: usize| words(&scales[64 * i..][..64]));
        let (low, high) = ([word(0), word(1)], word(2));
        for (group, scale) in scale.iter_mut().enumerate().take(16) {
            // The low four bits stand in eight bytes, the high two in four.
            let low = &low[group / 4 % 2];
            let of = |row: usize| {
                let low = low[row] >> (8 * (group % 4) + 4 * (group / 8)) & 15;
                low | (high[row] >> (8 * (group % 4) + 2 * (group / 4)) & 3) << 4
            };
            scaled(s, d, |row| of(row) as i32 - 32, scale);
        }
        for (from, shift, to) in two_bits() {
            let (from, mask) = (line(lines, from), line(mask, to % 8));
            for i in 0..64 {
                q[to][i] = (from[i] >> shift & 3 | (mask[i] >> (to / 8) & 1) << 2) + 124;
            }
        }
    }
}

/// `(line, shift, quad)`: in each half of 128 values, four runs of 32 share bytes.
#[inline(always)]
fn two_bits() -> impl Iterator<Item = (usize, u32, usize)> {
    (0..64).map(|quad| (8 * (quad / 32) + quad % 8, 2 * (quad % 32 / 8) as u32, quad))
}
