//! Quantizing to Q4_K: for each group of 32 a search for the scale and minimum of least weighted error.
//!
//! The procedure is that of ggml without an importance matrix, so that files come out as other tools make them.

use super::{each_group, put_f16};

/// The largest level.
const MAX: f32 = 15.0;

/// A group of Q4_K: values are about `scale * level - min`.
struct Fit {
    scale: f32,
    min: f32,
    levels: [u8; 32],
}

/// Two f16 scales, eight 6-bit scales and minima, 4 bits a value; see the decoder for the layout.
pub(super) fn encode(values: &[f32], blocks: &mut [u8]) {
    each_group(values, blocks, |values: &[f32; 256], block: &mut [u8; 144]| {
        let groups = values.as_chunks::<32>().0;
        let mut fits: Vec<Fit> = groups.iter().map(fit).collect();
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
                fit.levels = group.map(|x| level((x + min) / scale, MAX));
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

/// A group of values with their weights `rms + |x|`.
struct Group<'a> {
    x: &'a [f32; 32],
    w: [f32; 32],
    sum_w: f32,
    sum_wx: f32,
}

impl<'a> Group<'a> {
    fn new(x: &'a [f32; 32]) -> Self {
        let rms = (x.iter().map(|x| x * x).sum::<f32>() / 32.0).sqrt();
        let w = x.map(|x| rms + x.abs());
        Self { x, w, sum_w: w.iter().sum(), sum_wx: w.iter().zip(x).map(|(w, x)| w * x).sum() }
    }

    /// Weighted squared error of `scale * level + low`.
    fn error(&self, scale: f32, low: f32, levels: &[u8; 32]) -> f32 {
        let weighted = |((&l, x), w): ((&u8, &f32), &f32)| {
            let difference = scale * f32::from(l) + low - x;
            w * (difference * difference)
        };
        levels.iter().zip(self.x).zip(&self.w).map(weighted).sum()
    }

    /// The scale and `low <= 0` of least error for given levels, unless they are all equal.
    fn solve(&self, levels: &[u8; 32]) -> Option<(f32, f32)> {
        let (mut sum_l, mut sum_ll, mut sum_lx) = (0f32, 0f32, 0f32);
        for ((&l, x), w) in levels.iter().zip(self.x).zip(&self.w) {
            let l = f32::from(l);
            sum_l += w * l;
            sum_ll += w * l * l;
            sum_lx += w * l * x;
        }
        let determinant = self.sum_w * sum_ll - sum_l * sum_l;
        if determinant <= 0.0 {
            return None;
        }
        let low = (sum_ll * self.sum_wx - sum_l * sum_lx) / determinant;
        if low > 0.0 {
            return Some((sum_lx / sum_ll, 0.0));
        }
        Some(((self.sum_w * sum_lx - self.sum_wx * sum_l) / determinant, low))
    }
}

/// The best of 22 candidates: levels spread evenly over the range, and 21 near it, each solved for its levels.
fn fit(x: &[f32; 32]) -> Fit {
    let mut low = x.iter().fold(0f32, |low, &x| low.min(x));
    let high = x.iter().fold(x[0], |high, &x| high.max(x));
    if high == low {
        return Fit { scale: 0.0, min: -low, levels: [0; 32] };
    }
    let group = Group::new(x);
    let mut levels = x.map(|x| level(MAX / (high - low) * (x - low), MAX));
    let mut scale = 1.0 / (MAX / (high - low));
    let mut least = group.error(scale, low, &levels);
    for step in 0..=20 {
        // `low` is the best so far, not the smallest value.
        let inverse = (-1.0 + 0.1 * step as f32 + MAX) / (high - low);
        let candidate = x.map(|x| level(inverse * (x - low), MAX));
        let Some(solved) = group.solve(&candidate) else { continue };
        let error = group.error(solved.0, solved.1, &candidate);
        if error < least {
            (least, levels, (scale, low)) = (error, candidate, solved);
        }
    }
    Fit { scale, min: -low, levels }
}
