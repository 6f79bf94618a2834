//! The differentiable operations, each with its backward pass. Matrices are row-major; a backward pass adds to the
//! gradients it is given.

use plimsoll_model::Pairing;

use super::matmul::{View, matmul};

const LANES: usize = 16;

/// `sum(a * b)`, in independent lanes so that it vectorizes.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// `e^x` to about 1e-7 relative, without branches or calls, so that loops over it vectorize.
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p =
        1.0 + r * (1.0 + r * (0.5 + r * (0.166_666_67 + r * (0.041_666_67 + r * (0.008_333_334 + r * 0.001_388_89)))));
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(power)
}

/// `y[n, out] = x[n, in] w[out, in]^T (+ bias)`, added to `y` if `keep`.
pub fn linear(y: &mut [f32], x: &[f32], w: &[f32], bias: Option<&[f32]>, n: usize, keep: bool) {
    let (input, output) = (x.len() / n, y.len() / n);
    matmul(y, output, keep, 1.0, View::new(x, n, input, input), View::new(w, output, input, input).t());
    if let Some(bias) = bias {
        for row in y.chunks_exact_mut(output) {
            row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
}

/// Backward of [`linear`]: overwrites `dx`, adds to `dw` and `dbias`.
pub fn linear_back(
    dx: &mut [f32],
    dw: &mut [f32],
    dbias: Option<&mut [f32]>,
    dy: &[f32],
    x: &[f32],
    w: &[f32],
    n: usize,
) {
    let (input, output) = (x.len() / n, dy.len() / n);
    let dy_view = View::new(dy, n, output, output);
    matmul(dx, input, false, 1.0, dy_view, View::new(w, output, input, input));
    matmul(dw, input, true, 1.0, dy_view.t(), View::new(x, n, input, input));
    if let Some(dbias) = dbias {
        for row in dy.chunks_exact(output) {
            dbias.iter_mut().zip(row).for_each(|(d, y)| *d += y);
        }
    }
}

/// `y = x / rms(x) * w` for each chunk of `w.len()` values.
pub fn rms(y: &mut [f32], x: &[f32], w: &[f32], eps: f32) {
    let width = w.len();
    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        let inv = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
        for i in 0..width {
            y[i] = x[i] * inv * w[i];
        }
    }
}

/// Backward of [`rms`]: adds to `dx` and `dw`.
pub fn rms_back(dx: &mut [f32], dw: &mut [f32], dy: &[f32], x: &[f32], w: &[f32], eps: f32) {
    let width = w.len();
    let mut scaled = vec![0.0; width];
    for ((dx, dy), x) in dx.chunks_exact_mut(width).zip(dy.chunks_exact(width)).zip(x.chunks_exact(width)) {
        let inv = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
        for i in 0..width {
            dw[i] += dy[i] * x[i] * inv;
            scaled[i] = dy[i] * w[i];
        }
        let mean = dot(&scaled, x) * inv * inv / width as f32;
        for i in 0..width {
            dx[i] += inv * (scaled[i] - mean * x[i]);
        }
    }
}

/// cos and sin of every position and pair.
pub struct Angles {
    pairing: Pairing,
    dim: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    /// Unscaled RoPE angles for `context` positions.
    pub fn new(theta: f32, dim: usize, pairing: Pairing, context: usize) -> Self {
        let angle = |i: usize| {
            let (position, pair) = (i / (dim / 2), i % (dim / 2));
            position as f64 * f64::from(theta).powf(-2.0 * pair as f64 / dim as f64)
        };
        let cos = (0..context * dim / 2).map(|i| angle(i).cos() as f32).collect();
        let sin = (0..context * dim / 2).map(|i| angle(i).sin() as f32).collect();
        Self { pairing, dim, cos, sin }
    }

    /// Rotates the first `dim` values of one head in place; `sign` -1 turns back, which is also the backward pass.
    pub fn rotate(&self, head: &mut [f32], position: usize, sign: f32) {
        let half = self.dim / 2;
        for pair in 0..half {
            let (i, j) = match self.pairing {
                Pairing::Half => (pair, pair + half),
                Pairing::Adjacent => (2 * pair, 2 * pair + 1),
            };
            let (cos, sin) = (self.cos[position * half + pair], sign * self.sin[position * half + pair]);
            let (a, b) = (head[i], head[j]);
            head[i] = a * cos - b * sin;
            head[j] = a * sin + b * cos;
        }
    }
}

/// `h = silu(gate) * up`, rows of `gate_up` holding gate, then up.
pub fn swiglu(h: &mut [f32], gate_up: &[f32], width: usize) {
    for (h, row) in h.chunks_exact_mut(width).zip(gate_up.chunks_exact(2 * width)) {
        let (gate, up) = row.split_at(width);
        for i in 0..width {
            h[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
        }
    }
}

/// Backward of [`swiglu`]: overwrites `dgate_up`.
pub fn swiglu_back(dgate_up: &mut [f32], dh: &[f32], gate_up: &[f32], width: usize) {
    let rows = dh.chunks_exact(width).zip(gate_up.chunks_exact(2 * width));
    for (d, (dh, row)) in dgate_up.chunks_exact_mut(2 * width).zip(rows) {
        let (gate, up) = row.split_at(width);
        let (dgate, dup) = d.split_at_mut(width);
        for i in 0..width {
            let sigmoid = 1.0 / (1.0 + exp(-gate[i]));
            dgate[i] = dh[i] * up[i] * sigmoid * (1.0 + gate[i] * (1.0 - sigmoid));
            dup[i] = dh[i] * gate[i] * sigmoid;
        }
    }
}

/// Cross-entropy of one row of logits, which becomes its gradient times `weight`. Returns the loss (not weighted) and
/// whether the target was the most likely token.
pub fn cross_entropy(logits: &mut [f32], target: usize, weight: f32) -> (f32, bool) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let hit = logits[target] == max;
    let shifted = logits[target] - max;
    logits.iter_mut().for_each(|x| *x = exp(*x - max));
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|x| *x *= weight / sum);
    logits[target] -= weight;
    (sum.ln() - shifted, hit)
}
