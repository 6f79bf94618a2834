//! Quantizing to Q4_K and Q6_K: a search for the scales of least weighted error, group by group.
//!
//! The procedure is that of ggml without an importance matrix, so that files come out as other tools make them.

use super::linear::extreme;
use super::{each_group, put_f16};

/// Below this magnitude a group counts as zero.
const TINY: f32 = 1e-15;

/// A group of Q4_K: values are about `scale * level - min`.
#[derive(Clone, Copy)]
struct Affine {
    scale: f32,
    min: f32,
    levels: [u8; 32],
}

/// Two f16 scales, eight 6-bit scales and minima, 4 bits a value; see the decoder for the layout.
pub(super) fn encode_q4_k(values: &[f32], blocks: &mut [u8]) {
    each_group(values, blocks, |values: &[f32; 256], block: &mut [u8; 144]| {
        let groups = values.as_chunks::<32>().0;
        let mut fits: Vec<Affine> = groups.iter().map(fit_affine).collect();
        let max_scale = fits.iter().fold(0f32, |max, fit| max.max(fit.scale));
        let max_min = fits.iter().fold(0f32, |max, fit| max.max(fit.min));
        let d = put_f16(block, 0, max_scale / 63.0);
        let dmin = put_f16(block, 2, max_min / 63.0);
        block[4..16].fill(0);
        for (j, (group, fit)) in groups.iter().zip(&mut fits).enumerate() {
            let (scale, min) = (six_bits(fit.scale, max_scale), six_bits(fit.min, max_min));
            put_scale_min(&mut block[4..16], j, scale, min);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            if scale != 0.0 {
                fit.levels = group.map(|x| level((x + min) / scale, 15.0));
            }
        }
        for (pair, qs) in fits.as_chunks::<2>().0.iter().zip(block[16..].as_chunks_mut::<32>().0) {
            for (i, q) in qs.iter_mut().enumerate() {
                *q = pair[0].levels[i] | pair[1].levels[i] << 4;
            }
        }
    });
}

/// The nearest level of `0..=max`, ties to even.
fn level(x: f32, max: f32) -> u8 {
    x.round_ties_even().clamp(0.0, max) as u8
}

/// `value / max` in units of 1/63.
fn six_bits(value: f32, max: f32) -> u8 {
    let inverse = if max > 0.0 { 63.0 / max } else { 0.0 };
    level(inverse * value, 63.0)
}

/// Stores a scale and a minimum where `scale_min` of the decoder finds them.
fn put_scale_min(s: &mut [u8], j: usize, scale: u8, min: u8) {
    if j < 4 {
        s[j] |= scale;
        s[j + 4] |= min;
    } else {
        s[j + 4] |= scale & 15 | min << 4;
        s[j - 4] |= scale >> 4 << 6;
        s[j] |= min >> 4 << 6;
    }
}

/// The best of 22 candidates for scale and minimum, each solved by weighted least squares for its levels.
fn fit_affine(x: &[f32; 32]) -> Affine {
    const MAX: f32 = 15.0;
    let rms = (x.iter().map(|x| x * x).sum::<f32>() / 32.0).sqrt();
    let w = x.map(|x| rms + x.abs());
    let mut low = x.iter().fold(0f32, |low, &x| low.min(x));
    let high = x.iter().fold(x[0], |high, &x| high.max(x));
    if high == low {
        return Affine { scale: 0.0, min: -low, levels: [0; 32] };
    }
    let sum_w: f32 = w.iter().sum();
    let sum_x: f32 = w.iter().zip(x).map(|(w, x)| w * x).sum();
    let error = |scale: f32, min: f32, levels: &[u8; 32]| -> f32 {
        let squared = |(l, x): (&u8, &f32)| (scale * f32::from(*l) + min - x) * (scale * f32::from(*l) + min - x);
        levels.iter().zip(x).map(squared).zip(&w).map(|(square, w)| w * square).sum()
    };
    let mut levels = x.map(|x| level(MAX / (high - low) * (x - low), MAX));
    let mut scale = 1.0 / (MAX / (high - low));
    let mut best = error(scale, low, &levels);
    for step in 0..=20 {
        let inverse = (-1.0 + 0.1 * step as f32 + MAX) / (high - low);
        let candidate = x.map(|x| level(inverse * (x - low), MAX));
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0f32, 0f32, 0f32);
        for ((&l, x), w) in candidate.iter().zip(x).zip(&w) {
            let l = f32::from(l);
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant <= 0.0 {
            continue;
        }
        let mut fit = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if min > 0.0 {
            (min, fit) = (0.0, sum_xl / sum_l2);
        }
        let error = error(fit, min, &candidate);
        if error < best {
            // Later candidates start from this minimum.
            (best, levels, scale, low) = (error, candidate, fit, min);
        }
    }
    Affine { scale, min: -low, levels }
}

/// One f16 scale, sixteen 8-bit scales, 6 bits a value; see the decoder for the layout.
pub(super) fn encode_q6_k(values: &[f32], blocks: &mut [u8]) {
    each_group(values, blocks, |values: &[f32; 256], block: &mut [u8; 210]| {
        let groups = values.as_chunks::<16>().0;
        let mut fits: Vec<Signed> = groups.iter().map(fit_signed).collect();
        let scales: Vec<f32> = fits.iter().map(|fit| fit.scale).collect();
        let max = extreme(&scales);
        block.fill(0);
        if max.abs() < TINY {
            return;
        }
        let d = put_f16(block, 208, max / -128.0);
        for (j, (group, fit)) in groups.iter().zip(&mut fits).enumerate() {
            let scale = (-128.0 / max * fit.scale).round_ties_even().min(127.0) as i8;
            block[192 + j] = scale as u8;
            let scale = d * f32::from(scale);
            if scale != 0.0 {
                fit.levels = group.map(|x| signed_level(x / scale));
            }
        }
        for (i, &level) in fits.iter().flat_map(|fit| &fit.levels).enumerate() {
            let (half, r) = (i / 128, i % 128);
            let q = (level + 32) as u8;
            block[64 * half + r % 64] |= (q & 15) << (4 * (r / 64));
            block[128 + 32 * half + r % 32] |= q >> 4 << (2 * (r / 32));
        }
    });
}

/// A group of Q6_K: values are about `scale * level`.
struct Signed {
    scale: f32,
    levels: [i8; 16],
}

/// The nearest level of `-32..=31`, ties to even.
fn signed_level(x: f32) -> i8 {
    x.round_ties_even().clamp(-32.0, 31.0) as i8
}

/// The best of 19 scales around the one that maps the extreme to -32.
fn fit_signed(x: &[f32; 16]) -> Signed {
    let extreme = extreme(x);
    if extreme.abs() < TINY {
        return Signed { scale: 0.0, levels: [-32; 16] };
    }
    let mut best = Signed { scale: 0.0, levels: [0; 16] };
    let mut best_score = 0.0;
    for step in std::iter::once(0).chain(-9..=9) {
        let inverse = -(32.0 + 0.1 * step as f32) / extreme;
        let levels = x.map(|x| signed_level(inverse * x));
        let (mut sum_xl, mut sum_l2) = (0f32, 0f32);
        for (x, &l) in x.iter().zip(&levels) {
            let (w, l) = (x * x, f32::from(l));
            sum_xl += w * x * l;
            sum_l2 += w * l * l;
        }
        // Squared correlation with the levels, compared without a division.
        if sum_l2 > 0.0 && sum_xl * sum_xl > best_score * sum_l2 {
            best = Signed { scale: sum_xl / sum_l2, levels };
            best_score = best.scale * sum_xl;
        }
    }
    best
}
