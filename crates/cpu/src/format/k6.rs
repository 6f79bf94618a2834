//! Q6_K: sixteen groups of 16 with a signed 8-bit scale, values from -32 to 31.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, Lines, Simd, Terms, f16s, field, line};

pub(crate) struct Q6K;

impl Format for Q6K {
    const BLOCK: &'static BlockType = &blocks::Q6_K;
    const FIELDS: &'static [Field] = &[field(4, 32), field(4, 16), field(4, 4), field(2, 1)];
    const VALUES: usize = 256;
    const GROUP: usize = 16;
    const ZERO: i32 = 32;
    const BLOCKWISE: bool = false;
    const RUN: usize = 8;
    const SHARED: usize = 4;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], part: usize, i: usize) -> Lines<S> {
        let low = [s.line(line(block, 16 * part + i)), s.line(line(block, 16 * part + 8 + i))];
        let high = s.line(line(block, 32 + 8 * part + i));
        let mut lines = [high; 4];
        for (k, line) in lines.iter_mut().enumerate() {
            *line = s.join(s.bits(low[k % 2], 4 * (k as u32 / 2), 4), s.bits(high, 2 * k as u32, 2), 4);
        }
        lines
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], group: usize) -> Terms<S> {
        let scales = s.words(line(block, 48 + group / 4));
        let scale = s.to_f(s.byte_i(scales, group as u32 % 4));
        (s.mul(f16s(s, &block[52 * 64..]), scale), s.splat(0.0))
    }
}
