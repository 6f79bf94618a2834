//! Plain Rust: the oracle of the other instruction sets, and what runs where there is none of them.

use std::array::from_fn;

use half::f16;

use super::{Kernel, LANES, Lanes, Line, Simd};

/// No vectors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

impl Simd for Scalar {
    type F = Lanes;
    type I = [i32; LANES];
    type B = Line;

    const TILE: (usize, usize) = (1, 1);
    const DIRECT: usize = 1;
    const SIGNED_BIAS: i32 = 0;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn line(self, bytes: &Line) -> Line {
        *bytes
    }
    #[inline(always)]
    fn quad(self, bytes: i32) -> Line {
        let bytes = bytes.to_le_bytes();
        from_fn(|i| bytes[i % 4])
    }
    #[inline(always)]
    fn store_line(self, bytes: Line, to: &mut Line) {
        *to = bytes;
    }
    #[inline(always)]
    fn bits(self, bytes: Line, first: u32, count: u32) -> Line {
        bytes.map(|byte| byte >> first & ((1 << count) - 1))
    }
    #[inline(always)]
    fn join(self, low: Line, high: Line, at: u32) -> Line {
        from_fn(|i| low[i] | high[i] << at)
    }
    #[inline(always)]
    fn add_byte(self, bytes: Line, n: u8) -> Line {
        bytes.map(|byte| byte.wrapping_add(n))
    }
    #[inline(always)]
    fn lookup(self, table: &[u8; 16], bytes: Line) -> Line {
        bytes.map(|byte| table[usize::from(byte & 15)])
    }
    #[inline(always)]
    fn dot4(self, acc: Self::I, w: Line, a: Line) -> Self::I {
        from_fn(|lane| (4 * lane..4 * lane + 4).fold(acc[lane], |sum, i| sum + i32::from(w[i]) * i32::from(a[i] as i8)))
    }
    #[inline(always)]
    fn dot4_signed(self, acc: Self::I, w: Line, a: Line) -> Self::I {
        let w = w.map(|w| i32::from(w) - 128);
        from_fn(|lane| (4 * lane..4 * lane + 4).fold(acc[lane], |sum, i| sum + w[i] * i32::from(a[i] as i8)))
    }

    #[inline(always)]
    fn words(self, words: &Line) -> Self::I {
        from_fn(|lane| i32::from_le_bytes(words.as_chunks().0[lane]))
    }
    #[inline(always)]
    fn halves(self, halves: &[u16; LANES]) -> Self::I {
        halves.map(i32::from)
    }
    #[inline(always)]
    fn bits_i(self, lanes: Self::I, first: u32, count: u32) -> Self::I {
        lanes.map(|lane| lane >> first & ((1 << count) - 1))
    }
    #[inline(always)]
    fn join_i(self, low: Self::I, high: Self::I, at: u32) -> Self::I {
        from_fn(|lane| low[lane] | high[lane] << at)
    }
    #[inline(always)]
    fn byte_i(self, lanes: Self::I, index: u32) -> Self::I {
        lanes.map(|lane| i32::from((lane >> (8 * index)) as i8))
    }
    #[inline(always)]
    fn spread(self, lanes: Self::I) -> Line {
        from_fn(|i| (lanes[i / 4] >> (i % 4) & 1) as u8)
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> Self::I {
        [value; LANES]
    }
    #[inline(always)]
    fn to_f(self, value: Self::I) -> Lanes {
        value.map(|value| value as f32)
    }
    #[inline(always)]
    fn to_i(self, value: Lanes) -> Self::I {
        value.map(|value| value.round_ties_even() as i32)
    }
    #[inline(always)]
    fn pow2(self, n: Self::I) -> Lanes {
        n.map(|n| f32::from_bits((n.wrapping_add(127) as u32) << 23))
    }
    #[inline(always)]
    fn store_bytes(self, value: Self::I, to: &mut [i8; LANES]) {
        *to = value.map(|value| value as i8);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        [value; LANES]
    }
    #[inline(always)]
    fn load(self, from: &Lanes) -> Lanes {
        *from
    }
    #[inline(always)]
    fn store(self, value: Lanes, to: &mut Lanes) {
        *to = value;
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Lanes {
        from.map(|bits| f16::from_bits(bits).to_f32_const())
    }
    #[inline(always)]
    fn store_f16(self, value: Lanes, to: &mut [u16; LANES]) {
        *to = value.map(|value| f16::from_f32_const(value).to_bits());
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Lanes {
        from.map(f32::from)
    }
    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn abs(self, a: Lanes) -> Lanes {
        a.map(f32::abs)
    }
    #[inline(always)]
    fn keep_from(self, bound: Lanes, key: Lanes, value: Lanes) -> Lanes {
        from_fn(|i| if key[i] >= bound[i] { value[i] } else { 0.0 })
    }
}
