//! AVX-512 with VNNI: a vector is one register.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Lanes, Line, Simd};

/// Proof that the processor has AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn with_features<K: Kernel>(isa: Avx512, kernel: K) -> K::Output {
    kernel.run(isa)
}

// SAFETY of all blocks below: `self` exists only where `detect` found the instructions, and every load and store goes
// through a reference to an array of the size of what is read or written, without alignment.
impl Simd for Avx512 {
    type F = __m512;
    type I = __m512i;
    type B = __m512i;

    const TILE: (usize, usize) = (2, 6);
    const DIRECT: usize = 4;
    const SIGNED_BIAS: i32 = 128;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn line(self, bytes: &Line) -> __m512i {
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn quad(self, bytes: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(bytes) }
    }
    #[inline(always)]
    fn store_line(self, bytes: __m512i, to: &mut Line) {
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), bytes) }
    }
    #[inline(always)]
    fn bits(self, bytes: __m512i, first: u32, count: u32) -> __m512i {
        unsafe {
            let shifted = _mm512_srl_epi16(bytes, _mm_cvtsi32_si128(first as i32));
            _mm512_and_si512(shifted, _mm512_set1_epi8((1 << count) - 1))
        }
    }
    #[inline(always)]
    fn join(self, low: __m512i, high: __m512i, at: u32) -> __m512i {
        unsafe { _mm512_or_si512(low, _mm512_sll_epi16(high, _mm_cvtsi32_si128(at as i32))) }
    }
    #[inline(always)]
    fn add_byte(self, bytes: __m512i, n: u8) -> __m512i {
        unsafe { _mm512_add_epi8(bytes, _mm512_set1_epi8(n as i8)) }
    }
    #[inline(always)]
    fn lookup(self, table: &[u8; 16], bytes: __m512i) -> __m512i {
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, bytes)
        }
    }
    #[inline(always)]
    fn dot4(self, acc: __m512i, w: __m512i, a: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(acc, w, a) }
    }
    #[inline(always)]
    fn dot4_signed(self, acc: __m512i, w: __m512i, a: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(acc, w, a) }
    }

    #[inline(always)]
    fn words(self, words: &Line) -> __m512i {
        self.line(words)
    }
    #[inline(always)]
    fn halves(self, halves: &[u16; LANES]) -> __m512i {
        unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(halves.as_ptr().cast())) }
    }
    #[inline(always)]
    fn bits_i(self, lanes: __m512i, first: u32, count: u32) -> __m512i {
        unsafe {
            let shifted = _mm512_srl_epi32(lanes, _mm_cvtsi32_si128(first as i32));
            _mm512_and_si512(shifted, _mm512_set1_epi32((1 << count) - 1))
        }
    }
    #[inline(always)]
    fn join_i(self, low: __m512i, high: __m512i, at: u32) -> __m512i {
        unsafe { _mm512_or_si512(low, _mm512_sll_epi32(high, _mm_cvtsi32_si128(at as i32))) }
    }
    #[inline(always)]
    fn byte_i(self, lanes: __m512i, index: u32) -> __m512i {
        unsafe { _mm512_srai_epi32::<24>(_mm512_sll_epi32(lanes, _mm_cvtsi32_si128(24 - 8 * index as i32))) }
    }
    #[inline(always)]
    fn spread(self, lanes: __m512i) -> __m512i {
        unsafe {
            // Times 1 + 2^7 + 2^14 + 2^21: bit `i` comes to place `8 i`.
            let spread = _mm512_mullo_epi32(self.bits_i(lanes, 0, 4), _mm512_set1_epi32(0x0020_4081));
            _mm512_and_si512(spread, _mm512_set1_epi32(0x0101_0101))
        }
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    fn to_f(self, value: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(value) }
    }
    #[inline(always)]
    fn to_i(self, value: __m512) -> __m512i {
        unsafe { _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value) }
    }
    #[inline(always)]
    fn pow2(self, n: __m512i) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(n, _mm512_set1_epi32(127)))) }
    }
    #[inline(always)]
    fn store_bytes(self, value: __m512i, to: &mut [i8; LANES]) {
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(value)) }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn load(self, from: &Lanes) -> __m512 {
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, value: __m512, to: &mut Lanes) {
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn store_f16(self, value: __m512, to: &mut [u16; LANES]) {
        unsafe {
            let half = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value);
            _mm256_storeu_si256(to.as_mut_ptr().cast(), half);
        }
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn keep_from(self, bound: __m512, key: __m512, value: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(key, bound), value) }
    }
}
