//! Norms and activations of one row.

use crate::simd::{Isa, Kernel, LANES, Lanes, Simd, sigmoid, sum_lanes};
use crate::weights::NormWeight;

impl NormWeight {
    /// Weights and epsilon.
    pub(crate) fn parts(&self) -> (&[f32], f32) {
        (&self.weight, self.eps)
    }

    /// `to = x / sqrt(mean(x^2) + eps) * w`
    pub(crate) fn apply(&self, isa: Isa, x: &[f32], to: &mut [f32]) {
        isa.run(RmsNorm { norm: self, x, to });
    }
}

struct RmsNorm<'a> {
    norm: &'a NormWeight,
    x: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { norm: NormWeight { weight, eps }, x, to } = self;
        let (whole, rest) = x.as_chunks::<LANES>();
        let mut squares = s.splat(0.0);
        for x in whole {
            let x = s.load(x);
            squares = s.fma(x, x, squares);
        }
        let mut last: Lanes = [0.0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        squares = s.fma(s.load(&last), s.load(&last), squares);
        let scale = 1.0 / (sum_lanes(s, squares) / x.len() as f32 + eps).sqrt();
        for ((to, x), w) in to.iter_mut().zip(x).zip(weight) {
            *to = x * scale * w;
        }
    }
}

/// `to = silu(gate) * up`
pub(crate) struct SiluMul<'a> {
    pub(crate) gate: &'a [Lanes],
    pub(crate) up: &'a [Lanes],
    pub(crate) to: &'a mut [f32],
}

impl Kernel for SiluMul<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for ((gate, up), to) in self.gate.iter().zip(self.up).zip(self.to.chunks_mut(LANES)) {
            let (gate, mut out) = (s.load(gate), [0.0; LANES]);
            s.store(s.mul(s.mul(gate, sigmoid(s, gate)), s.load(up)), &mut out);
            to.copy_from_slice(&out[..to.len()]);
        }
    }
}
