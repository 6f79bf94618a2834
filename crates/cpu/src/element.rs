//! Numbers that keys and values are stored in.

use crate::simd::{LANES, Lanes, Simd, max_lanes};

/// The largest f16. What is larger is stored as this: everything in the cache is finite, so that a weight of 0 hides it.
const F16_MAX: f32 = 65504.0;

/// A number that kernels read sixteen at a time.
pub(crate) trait Load: Copy + Send + Sync + 'static {
    /// Loads sixteen as f32.
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F;
}

/// A number of the cache.
pub(crate) trait Element: Load + Default {
    /// Whether rows have a scale.
    const SCALED: bool;
    /// Rounds a row; returns its scale.
    fn encode<S: Simd>(s: S, row: &[Lanes], to: &mut [[Self; LANES]]) -> f32;
}

impl Load for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &Lanes) -> S::F {
        s.load(from)
    }
}

/// The bits of an f16.
impl Load for u16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[u16; LANES]) -> S::F {
        s.load_f16(from)
    }
}

impl Load for i8 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[i8; LANES]) -> S::F {
        s.load_i8(from)
    }
}

impl Element for f32 {
    const SCALED: bool = false;

    #[inline(always)]
    fn encode<S: Simd>(s: S, row: &[Lanes], to: &mut [Lanes]) -> f32 {
        for (row, to) in row.iter().zip(to) {
            s.store(s.min(s.max(s.load(row), s.splat(f32::MIN)), s.splat(f32::MAX)), to);
        }
        1.0
    }
}

impl Element for u16 {
    const SCALED: bool = false;

    #[inline(always)]
    fn encode<S: Simd>(s: S, row: &[Lanes], to: &mut [[u16; LANES]]) -> f32 {
        for (row, to) in row.iter().zip(to) {
            let finite = s.min(s.max(s.load(row), s.splat(-F16_MAX)), s.splat(F16_MAX));
            s.store_f16(finite, to);
        }
        1.0
    }
}

impl Element for i8 {
    const SCALED: bool = true;

    #[inline(always)]
    fn encode<S: Simd>(s: S, row: &[Lanes], to: &mut [[i8; LANES]]) -> f32 {
        let mut most = s.splat(0.0);
        for row in row {
            most = s.max(s.abs(s.load(row)), most);
        }
        let most = max_lanes(s, most).min(f32::MAX);
        let (scale, inverse) = (most / 127.0, if most > 0.0 { 127.0 / most } else { 0.0 });
        for (row, to) in row.iter().zip(to) {
            let scaled = s.mul(s.load(row), s.splat(inverse));
            let bounded = s.min(s.max(scaled, s.splat(-127.0)), s.splat(127.0));
            s.store_bytes(s.to_i(bounded), to);
        }
        scale
    }
}
