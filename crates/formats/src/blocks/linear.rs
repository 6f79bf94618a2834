//! Blocks of 32 equally spaced levels: a scale `d`, for some a minimum `m`, and 4, 5 or 8 bits a value.

use super::{each_block, each_group, f16_at, nibble, put_f16};

/// `d f16 | qs[16]`: `(q - 8) d`
pub(super) fn decode_q4_0(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 18], values: &mut [f32; 32]| {
        let (d, qs) = (f16_at(block, 0), &block[2..]);
        for (i, value) in values.iter_mut().enumerate() {
            *value = (f32::from(nibble(qs, i)) - 8.0) * d;
        }
    });
}

/// `d f16 | m f16 | qs[16]`: `q d + m`
pub(super) fn decode_q4_1(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 20], values: &mut [f32; 32]| {
        let (d, m, qs) = (f16_at(block, 0), f16_at(block, 2), &block[4..]);
        for (i, value) in values.iter_mut().enumerate() {
            *value = f32::from(nibble(qs, i)) * d + m;
        }
    });
}

/// `d f16 | qh u32 | qs[16]`: `(q - 16) d`, bit `i` of `qh` the fifth of value `i`
pub(super) fn decode_q5_0(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 22], values: &mut [f32; 32]| {
        let (d, qh, qs) = (f16_at(block, 0), &block[2..6], &block[6..]);
        for (i, value) in values.iter_mut().enumerate() {
            *value = (five_bits(qs, qh, i) - 16.0) * d;
        }
    });
}

/// `d f16 | m f16 | qh u32 | qs[16]`: `q d + m`
pub(super) fn decode_q5_1(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 24], values: &mut [f32; 32]| {
        let (d, m, qh, qs) = (f16_at(block, 0), f16_at(block, 2), &block[4..8], &block[8..]);
        for (i, value) in values.iter_mut().enumerate() {
            *value = five_bits(qs, qh, i) * d + m;
        }
    });
}

fn five_bits(qs: &[u8], qh: &[u8], i: usize) -> f32 {
    f32::from(nibble(qs, i) | (qh[i / 8] >> (i % 8) & 1) << 4)
}

/// `d f16 | qs i8[32]`: `q d`
pub(super) fn decode_q8_0(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 34], values: &mut [f32; 32]| {
        let d = f16_at(block, 0);
        for (value, &q) in values.iter_mut().zip(&block[2..]) {
            *value = f32::from(q as i8) * d;
        }
    });
}

/// The value of largest magnitude, the first of equals, becomes -8 exactly: `d` takes its sign.
pub(super) fn encode_q4_0(values: &[f32], blocks: &mut [u8]) {
    each_group(values, blocks, |values: &[f32; 32], block: &mut [u8; 18]| {
        let d = extreme(values) / -8.0;
        let inverse = inverse(d);
        put_f16(block, 0, d);
        let level = |x: f32| ((x * inverse + 8.5) as u8).min(15);
        for (i, q) in block[2..].iter_mut().enumerate() {
            *q = level(values[i]) | level(values[i + 16]) << 4;
        }
    });
}

/// The largest magnitude becomes 127; levels are computed with the scale before it is rounded to f16.
pub(super) fn encode_q8_0(values: &[f32], blocks: &mut [u8]) {
    each_group(values, blocks, |values: &[f32; 32], block: &mut [u8; 34]| {
        let d = extreme(values).abs() / 127.0;
        let inverse = inverse(d);
        put_f16(block, 0, d);
        for (q, x) in block[2..].iter_mut().zip(values) {
            *q = (x * inverse).round() as i8 as u8;
        }
    });
}

/// The value of largest magnitude with its sign, the first of equals.
pub(super) fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |best: f32, &x| if x.abs() > best.abs() { x } else { best })
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}
