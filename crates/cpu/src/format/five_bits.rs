//! Blocks of 32 values of 5 bits: Q5_0 and Q5_1.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, LANES, Lines, Simd, Terms, f16s, field, line, pair, plus};

/// `d | qh u32 | qs[16]`: `(q - 16) d`
pub(crate) struct Q5_0;

impl Format for Q5_0 {
    const BLOCK: &'static BlockType = &blocks::Q5_0;
    const FIELDS: &'static [Field] = &[field(2, 1), field(4, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const ZERO: i32 = 128;
    const BLOCKWISE: bool = true;
    const RUN: usize = 4;
    const SHARED: usize = 2;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], _: usize, i: usize) -> Lines<S> {
        plus(s, five_bits(s, &block[2 * LANES..], i), 128 - 16)
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], _: usize) -> Terms<S> {
        (f16s(s, block), s.splat(0.0))
    }
}

/// `d | m | qh u32 | qs[16]`: `q d + m`
pub(crate) struct Q5_1;

impl Format for Q5_1 {
    const BLOCK: &'static BlockType = &blocks::Q5_1;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const ZERO: i32 = 0;
    const BLOCKWISE: bool = true;
    const RUN: usize = 4;
    const SHARED: usize = 2;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], _: usize, i: usize) -> Lines<S> {
        five_bits(s, &block[4 * LANES..], i)
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], _: usize) -> Terms<S> {
        (f16s(s, block), f16s(s, &block[2 * LANES..]))
    }
}

/// A word whose bit `i` is the fifth of value `i`, then the lower four as in Q4_0.
#[inline(always)]
fn five_bits<S: Simd>(s: S, bytes: &[u8], i: usize) -> Lines<S> {
    let (fifth, both, at) = (s.words(line(bytes, 0)), s.line(line(bytes, 1 + i)), 4 * i as u32);
    let low = s.join(s.bits(both, 0, 4), s.spread(s.bits_i(fifth, at, 4)), 4);
    let high = s.join(s.bits(both, 4, 4), s.spread(s.bits_i(fifth, at + 16, 4)), 4);
    pair::<S>(low, high)
}
