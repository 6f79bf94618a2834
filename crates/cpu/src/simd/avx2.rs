//! AVX2, with VNNI or without: a vector is two registers.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Lanes, Line, Simd};

/// Proof that the processor has AVX2, FMA and F16C, and AVX-VNNI where `VNNI`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2<const VNNI: bool>(());

impl<const VNNI: bool> Avx2<VNNI> {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && (!VNNI || is_x86_feature_detected!("avxvnni"));
        has.then_some(Self(()))
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn with_avx2<K: Kernel, const VNNI: bool>(isa: Avx2<VNNI>, kernel: K) -> K::Output {
    kernel.run(isa)
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn with_vnni<K: Kernel, const VNNI: bool>(isa: Avx2<VNNI>, kernel: K) -> K::Output {
    kernel.run(isa)
}

type F = [__m256; 2];
type I = [__m256i; 2];

/// An instruction on both registers.
macro_rules! both {
    ($instruction:path, $($x:expr),*) => {
        [$instruction($($x[0]),*), $instruction($($x[1]),*)]
    };
}

/// Operations that are one instruction on both registers.
macro_rules! operations {
    ($($name:ident($($x:ident),*) = $instruction:ident;)*) => {
        $(#[inline(always)]
        fn $name(self, $($x: F),*) -> F {
            unsafe { both!($instruction, $($x),*) }
        })*
    };
}

/// `acc + w . a` without VNNI; the sum of two neighbouring products must fit in 16 bits.
#[inline(always)]
unsafe fn dot4_in_16_bits(acc: __m256i, w: __m256i, a: __m256i) -> __m256i {
    unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), _mm256_set1_epi16(1))) }
}

// SAFETY of all blocks above and below: `self` exists only where `detect` found the instructions, and every load and store
// goes through a reference to an array of the size of what is read or written, without alignment.
impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type F = F;
    type I = I;
    type B = I;

    const TILE: (usize, usize) = (1, 4);
    const DIRECT: usize = 1;
    const SIGNED_BIAS: i32 = if VNNI { 128 } else { 0 };

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        if VNNI { unsafe { with_vnni(self, kernel) } } else { unsafe { with_avx2(self, kernel) } }
    }

    #[inline(always)]
    fn line(self, bytes: &Line) -> I {
        let from = bytes.as_ptr().cast::<__m256i>();
        unsafe { [_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))] }
    }
    #[inline(always)]
    fn quad(self, bytes: i32) -> I {
        self.splat_i(bytes)
    }
    #[inline(always)]
    fn store_line(self, bytes: I, to: &mut Line) {
        let to = to.as_mut_ptr().cast::<__m256i>();
        unsafe {
            _mm256_storeu_si256(to, bytes[0]);
            _mm256_storeu_si256(to.add(1), bytes[1]);
        }
    }
    #[inline(always)]
    fn bits(self, bytes: I, first: u32, count: u32) -> I {
        unsafe {
            let shifted = both!(_mm256_srl_epi16, bytes, [_mm_cvtsi32_si128(first as i32); 2]);
            both!(_mm256_and_si256, shifted, [_mm256_set1_epi8((1 << count) - 1); 2])
        }
    }
    #[inline(always)]
    fn join(self, low: I, high: I, at: u32) -> I {
        unsafe {
            let high = both!(_mm256_sll_epi16, high, [_mm_cvtsi32_si128(at as i32); 2]);
            both!(_mm256_or_si256, low, high)
        }
    }
    #[inline(always)]
    fn add_byte(self, bytes: I, n: u8) -> I {
        unsafe { both!(_mm256_add_epi8, bytes, [_mm256_set1_epi8(n as i8); 2]) }
    }
    #[inline(always)]
    fn lookup(self, table: &[u8; 16], bytes: I) -> I {
        unsafe {
            let table = [_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())); 2];
            both!(_mm256_shuffle_epi8, table, bytes)
        }
    }
    #[inline(always)]
    fn dot4(self, acc: I, w: I, a: I) -> I {
        if VNNI {
            return unsafe { both!(_mm256_dpbusd_avx_epi32, acc, w, a) };
        }
        // 2 * 127 * 128 fits.
        unsafe { both!(dot4_in_16_bits, acc, w, a) }
    }
    #[inline(always)]
    fn dot4_signed(self, acc: I, w: I, a: I) -> I {
        if VNNI {
            return self.dot4(acc, w, a);
        }
        // The sign of w goes over to a, and 2 * 128 * 127 fits.
        unsafe {
            let w = both!(_mm256_xor_si256, w, [_mm256_set1_epi8(-128); 2]);
            let a = both!(_mm256_sign_epi8, a, w);
            let w = [_mm256_abs_epi8(w[0]), _mm256_abs_epi8(w[1])];
            both!(dot4_in_16_bits, acc, w, a)
        }
    }

    #[inline(always)]
    fn words(self, words: &Line) -> I {
        self.line(words)
    }
    #[inline(always)]
    fn halves(self, halves: &[u16; LANES]) -> I {
        let from = halves.as_ptr().cast::<__m128i>();
        unsafe {
            let halves = [_mm_loadu_si128(from), _mm_loadu_si128(from.add(1))];
            both!(_mm256_cvtepu16_epi32, halves)
        }
    }
    #[inline(always)]
    fn bits_i(self, lanes: I, first: u32, count: u32) -> I {
        unsafe {
            let shifted = both!(_mm256_srl_epi32, lanes, [_mm_cvtsi32_si128(first as i32); 2]);
            both!(_mm256_and_si256, shifted, self.splat_i((1 << count) - 1))
        }
    }
    #[inline(always)]
    fn join_i(self, low: I, high: I, at: u32) -> I {
        unsafe {
            let high = both!(_mm256_sll_epi32, high, [_mm_cvtsi32_si128(at as i32); 2]);
            both!(_mm256_or_si256, low, high)
        }
    }
    #[inline(always)]
    fn byte_i(self, lanes: I, index: u32) -> I {
        unsafe {
            let top = both!(_mm256_sll_epi32, lanes, [_mm_cvtsi32_si128(24 - 8 * index as i32); 2]);
            both!(_mm256_srai_epi32::<24>, top)
        }
    }
    #[inline(always)]
    fn spread(self, lanes: I) -> I {
        unsafe {
            // Times 1 + 2^7 + 2^14 + 2^21: bit `i` comes to place `8 i`.
            let spread = both!(_mm256_mullo_epi32, self.bits_i(lanes, 0, 4), self.splat_i(0x0020_4081));
            both!(_mm256_and_si256, spread, self.splat_i(0x0101_0101))
        }
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> I {
        unsafe { [_mm256_set1_epi32(value); 2] }
    }
    #[inline(always)]
    fn to_f(self, value: I) -> F {
        unsafe { both!(_mm256_cvtepi32_ps, value) }
    }
    #[inline(always)]
    fn to_i(self, value: F) -> I {
        unsafe { both!(_mm256_cvtps_epi32, value) }
    }
    #[inline(always)]
    fn pow2(self, n: I) -> F {
        unsafe {
            let biased = both!(_mm256_add_epi32, n, self.splat_i(127));
            let bits = both!(_mm256_slli_epi32::<23>, biased);
            both!(_mm256_castsi256_ps, bits)
        }
    }
    #[inline(always)]
    fn store_bytes(self, value: I, to: &mut [i8; LANES]) {
        unsafe {
            let value = both!(_mm256_and_si256, value, self.splat_i(255));
            // Packing goes by halves of registers: lanes 0 to 3, 8 to 11; 4 to 7, 12 to 15.
            let words = _mm256_packus_epi32(value[0], value[1]);
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_shuffle_epi32::<0b11_01_10_00>(bytes));
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> F {
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    fn load(self, from: &Lanes) -> F {
        let from = from.as_ptr();
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }
    #[inline(always)]
    fn store(self, value: F, to: &mut Lanes) {
        let to = to.as_mut_ptr();
        unsafe {
            _mm256_storeu_ps(to, value[0]);
            _mm256_storeu_ps(to.add(8), value[1]);
        }
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> F {
        let from = from.as_ptr().cast::<__m128i>();
        unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from.add(1)))] }
    }
    #[inline(always)]
    fn store_f16(self, value: F, to: &mut [u16; LANES]) {
        let to = to.as_mut_ptr().cast::<__m128i>();
        unsafe {
            let half = both!(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>, value);
            _mm_storeu_si128(to, half[0]);
            _mm_storeu_si128(to.add(1), half[1]);
        }
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> F {
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            self.to_f([_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes))])
        }
    }
    operations! {
        add(a, b) = _mm256_add_ps;
        sub(a, b) = _mm256_sub_ps;
        mul(a, b) = _mm256_mul_ps;
        div(a, b) = _mm256_div_ps;
        fma(a, b, c) = _mm256_fmadd_ps;
        max(a, b) = _mm256_max_ps;
        min(a, b) = _mm256_min_ps;
    }
    #[inline(always)]
    fn abs(self, a: F) -> F {
        unsafe { both!(_mm256_andnot_ps, self.splat(-0.0), a) }
    }
    #[inline(always)]
    fn keep_from(self, bound: F, key: F, value: F) -> F {
        unsafe {
            let kept = both!(_mm256_cmp_ps::<_CMP_GE_OQ>, key, bound);
            both!(_mm256_and_ps, kept, value)
        }
    }
}
