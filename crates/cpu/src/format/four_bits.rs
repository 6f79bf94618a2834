//! Blocks of 32 values of 4 or 8 bits: Q4_0, Q4_1, Q8_0, and the types whose 4 bits name a value of a table.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, LANES, Lines, Simd, Terms, f16s, field, line, pair, plus};

/// Values of IQ4_NL and IQ4_XS, plus 128.
const IQ4: [u8; 16] = [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];
/// Twice the values of FP4 E2M1, plus 128.
const FP4: [u8; 16] = [128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116];

/// `d | qs[16]`: `(q - 8) d`
pub(crate) struct Q4_0;

impl Format for Q4_0 {
    const BLOCK: &'static BlockType = &blocks::Q4_0;
    const FIELDS: &'static [Field] = &[field(2, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const ZERO: i32 = 128;
    const BLOCKWISE: bool = true;
    const RUN: usize = 4;
    const SHARED: usize = 2;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], _: usize, i: usize) -> Lines<S> {
        plus(s, nibbles(s, &block[2 * LANES..], i), 128 - 8)
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], _: usize) -> Terms<S> {
        (f16s(s, block), s.splat(0.0))
    }
}

/// `d | m | qs[16]`: `q d + m`
pub(crate) struct Q4_1;

impl Format for Q4_1 {
    const BLOCK: &'static BlockType = &blocks::Q4_1;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const ZERO: i32 = 0;
    const BLOCKWISE: bool = true;
    const RUN: usize = 4;
    const SHARED: usize = 2;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], _: usize, i: usize) -> Lines<S> {
        nibbles(s, &block[4 * LANES..], i)
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], _: usize) -> Terms<S> {
        (f16s(s, block), f16s(s, &block[2 * LANES..]))
    }
}

/// `d | qs[32]`: `q d`
pub(crate) struct Q8_0;

impl Format for Q8_0 {
    const BLOCK: &'static BlockType = &blocks::Q8_0;
    const FIELDS: &'static [Field] = &[field(2, 1), field(4, 8)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const ZERO: i32 = 128;
    const BLOCKWISE: bool = true;
    const RUN: usize = 8;
    const SHARED: usize = 1;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], _: usize, i: usize) -> Lines<S> {
        [s.add_byte(s.line(line(&block[2 * LANES..], i)), 128); 4]
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], _: usize) -> Terms<S> {
        (f16s(s, block), s.splat(0.0))
    }
}

/// `d | qs[16]`: `table[q] d`
pub(crate) struct Iq4Nl;

impl Format for Iq4Nl {
    const BLOCK: &'static BlockType = &blocks::IQ4_NL;
    const FIELDS: &'static [Field] = &[field(2, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const ZERO: i32 = 128;
    const BLOCKWISE: bool = true;
    const RUN: usize = 4;
    const SHARED: usize = 2;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], _: usize, i: usize) -> Lines<S> {
        look_up(s, &IQ4, nibbles(s, &block[2 * LANES..], i))
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], _: usize) -> Terms<S> {
        (f16s(s, block), s.splat(0.0))
    }
}

/// `e | qs[16]`: `table[q] 2^(e - 128)`
pub(crate) struct Mxfp4;

impl Format for Mxfp4 {
    const BLOCK: &'static BlockType = &blocks::MXFP4;
    const FIELDS: &'static [Field] = &[field(1, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const ZERO: i32 = 128;
    const BLOCKWISE: bool = true;
    const RUN: usize = 4;
    const SHARED: usize = 2;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], _: usize, i: usize) -> Lines<S> {
        look_up(s, &FP4, nibbles(s, &block[LANES..], i))
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], _: usize) -> Terms<S> {
        let mut scale = [0.0; LANES];
        for (scale, e) in scale.iter_mut().zip(&block[..LANES]) {
            // 2^-128 and 2^-127 are subnormal.
            let bits = if *e < 2 { 0x0020_0000 << e } else { (u32::from(*e) - 1) << 23 };
            *scale = f32::from_bits(bits);
        }
        (s.load(&scale), s.splat(0.0))
    }
}

/// `d | scales_h u16 | scales_l[4] | qs[128]`: `table[q] d (s - 32)`, eight groups with 6-bit scales
pub(crate) struct Iq4Xs;

impl Format for Iq4Xs {
    const BLOCK: &'static BlockType = &blocks::IQ4_XS;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 1), field(4, 32)];
    const VALUES: usize = 256;
    const GROUP: usize = 32;
    const ZERO: i32 = 128;
    const BLOCKWISE: bool = false;
    const RUN: usize = 4;
    const SHARED: usize = 2;

    #[inline(always)]
    fn lines<S: Simd>(s: S, block: &[u8], part: usize, i: usize) -> Lines<S> {
        look_up(s, &IQ4, nibbles(s, &block[8 * LANES..], 4 * part + i))
    }

    #[inline(always)]
    fn terms<S: Simd>(s: S, block: &[u8], group: usize) -> Terms<S> {
        let high = s.bits_i(s.halves(&super::halves(&block[2 * LANES..])), 2 * group as u32, 2);
        let low = s.bits_i(s.words(line(&block[4 * LANES..], 0)), 4 * group as u32, 4);
        let scale = s.sub(s.to_f(s.join_i(low, high, 4)), s.splat(32.0));
        (s.mul(f16s(s, block), scale), s.splat(0.0))
    }
}

/// The low four bits of bytes, which are 16 values, and the high ones, which are the 16 behind them.
#[inline(always)]
fn nibbles<S: Simd>(s: S, bytes: &[u8], i: usize) -> Lines<S> {
    let both = s.line(line(bytes, i));
    let (low, high) = (s.bits(both, 0, 4), s.bits(both, 4, 4));
    pair::<S>(low, high)
}

/// Replaces every byte by its value in a table.
#[inline(always)]
fn look_up<S: Simd>(s: S, table: &[u8; 16], [low, high, ..]: Lines<S>) -> Lines<S> {
    let (low, high) = (s.lookup(table, low), s.lookup(table, high));
    pair::<S>(low, high)
}
