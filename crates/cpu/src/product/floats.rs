//! Weights that are floats.

use super::*;

pub(super) struct Floats<'a, F> {
    pub(super) panels: [&'a [u8]; 2],
    pub(super) count: usize,
    /// `[columns, width]`
    pub(super) activations: &'a [f32],
    pub(super) width: usize,
    pub(super) out: &'a mut [[Lanes; 2]],
    pub(super) format: PhantomData<F>,
}

impl<F: Float> Kernel for Floats<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { panels, count, activations, width, out, .. } = self;
        let mut at = 0;
        while at < out.len() {
            let (a, out) = (&activations[at * width..], &mut out[at..]);
            at += match out.len().min(S::TILE.1) {
                2 if const { S::TILE.1 >= 2 } => multiply_floats::<S, F, 2>(s, panels, count, a, width, out),
                3 if const { S::TILE.1 >= 3 } => multiply_floats::<S, F, 3>(s, panels, count, a, width, out),
                4 if const { S::TILE.1 >= 4 } => multiply_floats::<S, F, 4>(s, panels, count, a, width, out),
                5 if const { S::TILE.1 >= 5 } => multiply_floats::<S, F, 5>(s, panels, count, a, width, out),
                6 if const { S::TILE.1 >= 6 } => multiply_floats::<S, F, 6>(s, panels, count, a, width, out),
                _ => multiply_floats::<S, F, 1>(s, panels, count, a, width, out),
            };
        }
    }
}

#[inline(always)]
fn multiply_floats<S: Simd, F: Float, const N: usize>(
    s: S,
    panels: [&[u8]; 2],
    count: usize,
    a: &[f32],
    width: usize,
    out: &mut [[Lanes; 2]],
) -> usize {
    let rows: [&[f32]; N] = std::array::from_fn(|n| &a[n * width..][..width]);
    let bytes = LANES * F::BYTES;
    let mut sums = [[s.splat(0.0); N]; 2];
    let lines = panels.map(|panel| &panel[..width * bytes]);
    for k in 0..width {
        let weights = [F::load(s, &lines[0][k * bytes..][..bytes]), F::load(s, &lines[1][k * bytes..][..bytes])];
        for n in 0..N {
            let a = s.splat(rows[n][k]);
            for p in 0..2 {
                sums[p][n] = s.fma(weights[p], a, sums[p][n]);
            }
        }
    }
    for (n, out) in out.iter_mut().enumerate().take(N) {
        for p in 0..2 {
            s.store(if p < count { sums[p][n] } else { s.splat(0.0) }, &mut out[p]);
        }
    }
    N
}
