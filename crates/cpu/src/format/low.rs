//! Q2_K and Q3_K: sixteen groups of 16, values of 2 and 3 bits. In each half of 128 values, four runs of 32 share bytes.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, LANES, Lines, Simd, Terms, f16s, field, line, negated};

/// `scales[16] | qs[64] | d | dmin`: `d s q - dmin m`, `s` and `m` the nibbles of a scale byte
pub(crate) struct Q2K;

impl Format for Q2K {
    const BLOCK: &'static BlockType = &blocks::Q2_K;
    const FIELDS: &'static [Field] = &[field(4, 4), field(4, 16), field(2, 1), field(2, 1)];
    const VALUES: usize = 256;
    const GROUP: usize = 16;
    const ZERO: i32 = 0;
    const BLOCKWISE: bool = false;
    const RUN: usize = 8;
    const SHARED: usize = 4;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], part: usize, i: usize) -> Lines<S> {
        let all = s.line(line(block, 4 + 8 * part + i));
        [s.bits(all, 0, 2), s.bits(all, 2, 2), s.bits(all, 4, 2), s.bits(all, 6, 2)]
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], group: usize) -> Terms<S> {
        let (scales, at) = (s.words(line(block, group / 4)), 8 * (group as u32 % 4));
        let (d, dmin) = (f16s(s, &block[20 * 64..]), f16s(s, &block[20 * 64 + 2 * LANES..]));
        let (scale, minimum) = (s.bits_i(scales, at, 4), s.bits_i(scales, at + 4, 4));
        (s.mul(d, s.to_f(scale)), s.mul(negated(s, dmin), s.to_f(minimum)))
    }
}

/// `hmask[32] | qs[64] | scales[12] | d`: `d (s - 32) q`, a clear bit of `hmask` subtracts 4 from `q`
pub(crate) struct Q3K;

impl Format for Q3K {
    const BLOCK: &'static BlockType = &blocks::Q3_K;
    const FIELDS: &'static [Field] = &[field(4, 8), field(4, 16), field(4, 3), field(2, 1)];
    const VALUES: usize = 256;
    const GROUP: usize = 16;
    const ZERO: i32 = 32;
    const BLOCKWISE: bool = false;
    const RUN: usize = 8;
    const SHARED: usize = 4;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], part: usize, i: usize) -> Lines<S> {
        let (mask, low) = (s.line(line(block, i)), s.line(line(block, 8 + 8 * part + i)));
        let mut lines = [low; 4];
        for (k, line) in lines.iter_mut().enumerate() {
            let third = s.bits(mask, (4 * part + k) as u32, 1);
            *line = s.add_byte(s.join(s.bits(low, 2 * k as u32, 2), third, 2), 32 - 4);
        }
        lines
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], group: usize) -> Terms<S> {
        let (words, at, run) = (&block[24 * 64..], 8 * (group as u32 % 4), group as u32 / 4);
        // The low four bits stand in eight bytes, the high two in four.
        let low = s.bits_i(s.words(line(words, group / 4 % 2)), at + 4 * (run / 2), 4);
        let high = s.bits_i(s.words(line(words, 2)), at + 2 * run, 2);
        let scale = s.sub(s.to_f(s.join_i(low, high, 4)), s.splat(32.0));
        (s.mul(f16s(s, &words[3 * 64..]), scale), s.splat(0.0))
    }
}
