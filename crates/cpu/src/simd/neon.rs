//! NEON with dot products: a vector is four registers.
#![allow(unsafe_code)]

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::{Kernel, LANES, Lanes, Line, Simd};

/// Proof that the processor has NEON and the dot products of Arm v8.2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

impl Neon {
    pub(super) fn detect() -> Option<Self> {
        let has = is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod");
        has.then_some(Self(()))
    }
}

#[target_feature(enable = "neon,dotprod")]
fn with_features<K: Kernel>(isa: Neon, kernel: K) -> K::Output {
    kernel.run(isa)
}

type F = [float32x4_t; 4];
type I = [int32x4_t; 4];
type B = [uint8x16_t; 4];

/// An instruction on all four registers.
macro_rules! each {
    ($instruction:path, $($x:expr),*) => {
        [$instruction($($x[0]),*), $instruction($($x[1]),*), $instruction($($x[2]),*), $instruction($($x[3]),*)]
    };
}

/// Operations that are one instruction on all four registers.
macro_rules! operations {
    ($($name:ident($($x:ident),*) = $instruction:ident;)*) => {
        $(#[inline(always)]
        fn $name(self, $($x: F),*) -> F {
            unsafe { each!($instruction, $($x),*) }
        })*
    };
}

/// `acc + w . a`, both signed. In assembly while std's `vdotq_s32` is unstable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut acc: int32x4_t, w: uint8x16_t, a: uint8x16_t) -> int32x4_t {
    // SAFETY: reads and writes registers only; the function is compiled for processors that have the instruction.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {w:v}.16b, {a:v}.16b",
            acc = inout(vreg) acc,
            w = in(vreg) w,
            a = in(vreg) a,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

/// Four f16 as f32. In assembly: std has `vcvt_f32_f16` only since Rust 1.94.
#[inline(always)]
fn from_f16(half: uint16x4_t) -> float32x4_t {
    let value;
    // SAFETY: reads and writes registers only, by an instruction that every aarch64 has.
    unsafe {
        asm!("fcvtl {:v}.4s, {:v}.4h", out(vreg) value, in(vreg) half, options(pure, nomem, nostack));
    }
    value
}

/// Four f32 as f16, rounded to nearest even.
#[inline(always)]
fn to_f16(value: float32x4_t) -> uint16x4_t {
    let half;
    // SAFETY: as above.
    unsafe {
        asm!("fcvtn {:v}.4h, {:v}.4s", out(vreg) half, in(vreg) value, options(pure, nomem, nostack));
    }
    half
}

// SAFETY of all blocks above and below: `self` exists only where `detect` found the instructions, and every load and store
// goes through a reference to an array of the size of what is read or written, without alignment.
impl Simd for Neon {
    type F = F;
    type I = I;
    type B = B;

    const TILE: (usize, usize) = (1, 4);
    const DIRECT: usize = 1;
    const SIGNED_BIAS: i32 = 0;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn line(self, bytes: &Line) -> B {
        let from = bytes.as_ptr();
        unsafe { [vld1q_u8(from), vld1q_u8(from.add(16)), vld1q_u8(from.add(32)), vld1q_u8(from.add(48))] }
    }
    #[inline(always)]
    fn quad(self, bytes: i32) -> B {
        unsafe { [vreinterpretq_u8_s32(vdupq_n_s32(bytes)); 4] }
    }
    #[inline(always)]
    fn store_line(self, bytes: B, to: &mut Line) {
        for (i, bytes) in bytes.into_iter().enumerate() {
            unsafe { vst1q_u8(to.as_mut_ptr().add(16 * i), bytes) }
        }
    }
    #[inline(always)]
    fn bits(self, bytes: B, first: u32, count: u32) -> B {
        unsafe {
            let shifted = each!(vshlq_u8, bytes, [vdupq_n_s8(-(first as i8)); 4]);
            each!(vandq_u8, shifted, [vdupq_n_u8((1 << count) - 1); 4])
        }
    }
    #[inline(always)]
    fn join(self, low: B, high: B, at: u32) -> B {
        unsafe {
            let high = each!(vshlq_u8, high, [vdupq_n_s8(at as i8); 4]);
            each!(vorrq_u8, low, high)
        }
    }
    #[inline(always)]
    fn add_byte(self, bytes: B, n: u8) -> B {
        unsafe { each!(vaddq_u8, bytes, [vdupq_n_u8(n); 4]) }
    }
    #[inline(always)]
    fn lookup(self, table: &[u8; 16], bytes: B) -> B {
        unsafe { each!(vqtbl1q_u8, [vld1q_u8(table.as_ptr()); 4], bytes) }
    }
    #[inline(always)]
    fn dot4(self, acc: I, w: B, a: B) -> I {
        unsafe { each!(sdot, acc, w, a) }
    }
    #[inline(always)]
    fn dot4_signed(self, acc: I, w: B, a: B) -> I {
        unsafe {
            let w = each!(veorq_u8, w, [vdupq_n_u8(128); 4]);
            each!(sdot, acc, w, a)
        }
    }

    #[inline(always)]
    fn words(self, words: &Line) -> I {
        unsafe { each!(vreinterpretq_s32_u8, self.line(words)) }
    }
    #[inline(always)]
    fn halves(self, halves: &[u16; LANES]) -> I {
        let from = halves.as_ptr();
        unsafe {
            let halves = [vld1_u16(from), vld1_u16(from.add(4)), vld1_u16(from.add(8)), vld1_u16(from.add(12))];
            let words = each!(vmovl_u16, halves);
            each!(vreinterpretq_s32_u32, words)
        }
    }
    #[inline(always)]
    fn bits_i(self, lanes: I, first: u32, count: u32) -> I {
        unsafe {
            let shifted = each!(vshlq_s32, lanes, self.splat_i(-(first as i32)));
            each!(vandq_s32, shifted, self.splat_i((1 << count) - 1))
        }
    }
    #[inline(always)]
    fn join_i(self, low: I, high: I, at: u32) -> I {
        unsafe {
            let high = each!(vshlq_s32, high, self.splat_i(at as i32));
            each!(vorrq_s32, low, high)
        }
    }
    #[inline(always)]
    fn byte_i(self, lanes: I, index: u32) -> I {
        unsafe {
            let top = each!(vshlq_s32, lanes, self.splat_i(24 - 8 * index as i32));
            each!(vshrq_n_s32::<24>, top)
        }
    }
    #[inline(always)]
    fn spread(self, lanes: I) -> B {
        unsafe {
            // Times 1 + 2^7 + 2^14 + 2^21: bit `i` comes to place `8 i`.
            let spread = each!(vmulq_s32, self.bits_i(lanes, 0, 4), self.splat_i(0x0020_4081));
            let bits = each!(vandq_s32, spread, self.splat_i(0x0101_0101));
            each!(vreinterpretq_u8_s32, bits)
        }
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> I {
        unsafe { [vdupq_n_s32(value); 4] }
    }
    #[inline(always)]
    fn to_f(self, value: I) -> F {
        unsafe { each!(vcvtq_f32_s32, value) }
    }
    #[inline(always)]
    fn to_i(self, value: F) -> I {
        unsafe { each!(vcvtnq_s32_f32, value) }
    }
    #[inline(always)]
    fn pow2(self, n: I) -> F {
        unsafe {
            let biased = each!(vaddq_s32, n, self.splat_i(127));
            let bits = each!(vshlq_n_s32::<23>, biased);
            each!(vreinterpretq_f32_s32, bits)
        }
    }
    #[inline(always)]
    fn store_bytes(self, value: I, to: &mut [i8; LANES]) {
        unsafe {
            let [a, b, c, d] = each!(vmovn_s32, value);
            let bytes = vcombine_s8(vmovn_s16(vcombine_s16(a, b)), vmovn_s16(vcombine_s16(c, d)));
            vst1q_s8(to.as_mut_ptr(), bytes);
        }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> F {
        unsafe { [vdupq_n_f32(value); 4] }
    }
    #[inline(always)]
    fn load(self, from: &Lanes) -> F {
        let from = from.as_ptr();
        unsafe { [vld1q_f32(from), vld1q_f32(from.add(4)), vld1q_f32(from.add(8)), vld1q_f32(from.add(12))] }
    }
    #[inline(always)]
    fn store(self, value: F, to: &mut Lanes) {
        for (i, value) in value.into_iter().enumerate() {
            unsafe { vst1q_f32(to.as_mut_ptr().add(4 * i), value) }
        }
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> F {
        let from = from.as_ptr();
        let half = unsafe { [vld1_u16(from), vld1_u16(from.add(4)), vld1_u16(from.add(8)), vld1_u16(from.add(12))] };
        each!(from_f16, half)
    }
    #[inline(always)]
    fn store_f16(self, value: F, to: &mut [u16; LANES]) {
        for (i, value) in value.into_iter().enumerate() {
            unsafe { vst1_u16(to.as_mut_ptr().add(4 * i), to_f16(value)) }
        }
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> F {
        unsafe {
            let bytes = vld1q_s8(from.as_ptr());
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes)));
            let words = [vget_low_s16(low), vget_high_s16(low), vget_low_s16(high), vget_high_s16(high)];
            self.to_f(each!(vmovl_s16, words))
        }
    }
    operations! {
        add(a, b) = vaddq_f32;
        sub(a, b) = vsubq_f32;
        mul(a, b) = vmulq_f32;
        div(a, b) = vdivq_f32;
        abs(a) = vabsq_f32;
    }
    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        unsafe { each!(vfmaq_f32, c, a, b) }
    }
    // NEON's own maximum and minimum are no numbers if either is none.
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        unsafe {
            let larger = each!(vcgtq_f32, a, b);
            each!(vbslq_f32, larger, a, b)
        }
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        unsafe {
            let smaller = each!(vcltq_f32, a, b);
            each!(vbslq_f32, smaller, a, b)
        }
    }
    #[inline(always)]
    fn keep_from(self, bound: F, key: F, value: F) -> F {
        unsafe {
            let kept = each!(vcgeq_f32, key, bound);
            let bits = each!(vreinterpretq_u32_f32, value);
            let bits = each!(vandq_u32, kept, bits);
            each!(vreinterpretq_f32_u32, bits)
        }
    }
}
