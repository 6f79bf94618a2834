//! Functions of vectors, the same on every instruction set.

use super::{LANES, Lanes, Simd};

/// `e^x`, within 2 units in the last place; 0 below -87.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, and Taylor's polynomial of degree 7 for `e^r`.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    const LN2_HIGH: f32 = 0.693_359_4; // 355 / 512: n * LN2_HIGH is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const TERMS: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let lowest = s.splat(-87.0);
    let clamped = s.min(s.max(x, lowest), s.splat(88.0));
    let n = s.to_i(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    let n_f = s.to_f(n);
    let r = s.fma(n_f, s.splat(-LN2_HIGH), clamped);
    let r = s.fma(n_f, s.splat(-LN2_LOW), r);
    let mut p = s.splat(TERMS[0]);
    for term in &TERMS[1..] {
        p = s.fma(p, r, s.splat(*term));
    }
    s.keep_from(lowest, x, s.mul(p, s.pow2(n)))
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// The sum of all lanes, in pairs.
#[inline(always)]
pub(crate) fn sum_lanes<S: Simd>(s: S, x: S::F) -> f32 {
    fold_lanes(s, x, |a, b| a + b)
}

/// The largest lane.
#[inline(always)]
pub(crate) fn max_lanes<S: Simd>(s: S, x: S::F) -> f32 {
    fold_lanes(s, x, |a, b| if a > b { a } else { b })
}

#[inline(always)]
fn fold_lanes<S: Simd>(s: S, x: S::F, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes: Lanes = [0.0; LANES];
    s.store(x, &mut lanes);
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}
