//! Q4_K and Q5_K: eight groups of 32, each with a 6-bit scale and a 6-bit minimum.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, LANES, Lines, Simd, Terms, f16s, field, line, negated, pair};

/// Bytes of `d`, `dmin` and the scales of sixteen rows.
const SCALES: usize = LANES * 16;

pub(crate) struct Q4K;

impl Format for Q4K {
    const BLOCK: &'static BlockType = &blocks::Q4_K;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 3), field(4, 32)];
    const VALUES: usize = 256;
    const GROUP: usize = 32;
    const ZERO: i32 = 0;
    const BLOCKWISE: bool = false;
    const RUN: usize = 8;
    const SHARED: usize = 2;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], part: usize, i: usize) -> Lines<S> {
        let both = s.line(line(&block[SCALES..], 8 * part + i));
        let (low, high) = (s.bits(both, 0, 4), s.bits(both, 4, 4));
        pair::<S>(low, high)
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], group: usize) -> Terms<S> {
        terms(s, block, group)
    }
}

pub(crate) struct Q5K;

impl Format for Q5K {
    const BLOCK: &'static BlockType = &blocks::Q5_K;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 3), field(4, 8), field(4, 32)];
    const VALUES: usize = 256;
    const GROUP: usize = 32;
    const ZERO: i32 = 0;
    const BLOCKWISE: bool = false;
    const RUN: usize = 8;
    const SHARED: usize = 2;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], part: usize, i: usize) -> Lines<S> {
        let (fifth, both) = (s.line(line(&block[SCALES..], i)), s.line(line(&block[SCALES..], 8 + 8 * part + i)));
        let low = s.join(s.bits(both, 0, 4), s.bits(fifth, 2 * part as u32, 1), 4);
        let high = s.join(s.bits(both, 4, 4), s.bits(fifth, 2 * part as u32 + 1, 1), 4);
        pair::<S>(low, high)
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], group: usize) -> Terms<S> {
        terms(s, block, group)
    }
}

/// Scale and minimum of a group: whole for the first four, in the first two words, whose upper bits belong to the other four.
#[inline(always)]
fn terms<S: Simd>(s: S, block: &[u8], group: usize) -> Terms<S> {
    let words = &block[4 * LANES..];
    let (scales, minima, rest) = (s.words(line(words, 0)), s.words(line(words, 1)), s.words(line(words, 2)));
    let at = 8 * (group % 4) as u32;
    let (scale, minimum) = if group < 4 {
        (s.bits_i(scales, at, 6), s.bits_i(minima, at, 6))
    } else {
        let scale = s.join_i(s.bits_i(rest, at, 4), s.bits_i(scales, at + 6, 2), 4);
        (scale, s.join_i(s.bits_i(rest, at + 4, 4), s.bits_i(minima, at + 6, 2), 4))
    };
    let (d, dmin) = (f16s(s, block), f16s(s, &block[2 * LANES..]));
    (s.mul(d, s.to_f(scale)), s.mul(negated(s, dmin), s.to_f(minimum)))
}
