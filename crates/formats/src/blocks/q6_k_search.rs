//! Quantizing to Q6_K: for each group of 16 a search for the scale of least weighted error.
//!
//! The procedure is that of ggml without an importance matrix, so that files come out as other tools make them.

use super::linear::extreme;
use super::{each_group, put_f16};

/// Below this magnitude a group counts as zero.
const TINY: f32 = 1e-15;

/// One f16 scale, sixteen 8-bit scales, 6 bits a value; see the decoder for the layout.
pub(super) fn encode(values: &[f32], blocks: &mut [u8]) {
    each_group(values, blocks, |values: &[f32; 256], block: &mut [u8; 210]| {
        let groups = values.as_chunks::<16>().0;
        let mut fits: Vec<Fit> = groups.iter().map(fit).collect();
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
                fit.levels = group.map(|x| level(x / scale));
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
struct Fit {
    scale: f32,
    levels: [i8; 16],
}

/// The nearest level of `-32..=31`, ties to even.
fn level(x: f32) -> i8 {
    x.round_ties_even().clamp(-32.0, 31.0) as i8
}

/// The best of 19 scales around the one that maps the extreme to -32.
fn fit(x: &[f32; 16]) -> Fit {
    let extreme = extreme(x);
    if extreme.abs() < TINY {
        return Fit { scale: 0.0, levels: [-32; 16] };
    }
    let mut best = Fit { scale: 0.0, levels: [0; 16] };
    let mut best_score = 0.0;
    for step in std::iter::once(0).chain(-9..=9) {
        let inverse = -(32.0 + 0.1 * step as f32) / extreme;
        let levels = x.map(|x| level(inverse * x));
        let (mut sum_xl, mut sum_l2) = (0f32, 0f32);
        for (x, &l) in x.iter().zip(&levels) {
            let (w, l) = (x * x, f32::from(l));
            sum_xl += w * x * l;
            sum_l2 += w * l * l;
        }
        // Squared correlation with the levels, compared without a division.
        if sum_l2 > 0.0 && sum_xl * sum_xl > best_score * sum_l2 {
            best = Fit { scale: sum_xl / sum_l2, levels };
            best_score = best.scale * sum_xl;
        }
    }
    best
}
