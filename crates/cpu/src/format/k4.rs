//! Q4_K and Q5_K: eight groups of 32, each with a 6-bit scale and a 6-bit minimum.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, LANES, Lanes, Simd, TileMut, f16s, field, line, map, scaled, words};

/// Bytes of `d`, `dmin` and the scales of sixteen rows.
const SCALES: usize = LANES * 16;

pub(crate) struct Q4K;

impl Format for Q4K {
    const BLOCK: &'static BlockType = &blocks::Q4_K;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 3), field(4, 32)];
    const VALUES: usize = 256;
    const GROUP: usize = 32;
    const SIGNED: bool = false;
    const BLOCKWISE: bool = false;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, offset)) = tile.sized::<{ Self::BYTES }, 64, 8>(blocks) else { return };
        unpack_scales(s, blocks, scale, offset);
        let lines = &blocks[SCALES..];
        for pair in 0..4 {
            for j in 0..8 {
                let line = line(lines, 8 * pair + j);
                map(line, &mut q[16 * pair + j], |byte| byte & 15);
                map(line, &mut q[16 * pair + 8 + j], |byte| byte >> 4);
            }
        }
    }
}

pub(crate) struct Q5K;

impl Format for Q5K {
    const BLOCK: &'static BlockType = &blocks::Q5_K;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 3), field(4, 8), field(4, 32)];
    const VALUES: usize = 256;
    const GROUP: usize = 32;
    const SIGNED: bool = false;
    const BLOCKWISE: bool = false;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, offset)) = tile.sized::<{ Self::BYTES }, 64, 8>(blocks) else { return };
        unpack_scales(s, blocks, scale, offset);
        let (high, low) = blocks[SCALES..].split_at(8 * 64);
        for pair in 0..4 {
            for j in 0..8 {
                let (low, high) = (line(low, 8 * pair + j), line(high, j));
                for i in 0..64 {
                    q[16 * pair + j][i] = low[i] & 15 | (high[i] >> (2 * pair) & 1) << 4;
                    q[16 * pair + 8 + j][i] = low[i] >> 4 | (high[i] >> (2 * pair + 1) & 1) << 4;
                }
            }
        }
    }
}

/// Scales and minima of eight groups: four whole in the first two words, whose upper bits belong to the other four.
#[inline(always)]
fn unpack_scales<S: Simd>(s: S, blocks: &[u8], scale: &mut [Lanes], offset: &mut [Lanes]) {
    let (d, dmin) = (f16s(s, blocks), s.sub(s.splat(0.0), f16s(s, &blocks[2 * LANES..])));
    let word = |i: usize| words(&blocks[4 * LANES + 64 * i..][..64]);
    let (scales, minima, rest) = (word(0), word(1), word(2));
    for j in 0..4 {
        let (low, high) = (8 * j as u32, 8 * j as u32 + 4);
        scaled(s, d, |row| (scales[row] >> low & 63) as i32, &mut scale[j]);
        scaled(s, dmin, |row| (minima[row] >> low & 63) as i32, &mut offset[j]);
        let upper = |word: u32| word >> (low + 6) & 3;
        let of = |rest: u32, word: u32| (rest | upper(word) << 4) as i32;
        scaled(s, d, |row| of(rest[row] >> low & 15, scales[row]), &mut scale[4 + j]);
        scaled(s, dmin, |row| of(rest[row] >> high & 15, minima[row]), &mut offset[4 + j]);
    }
}
