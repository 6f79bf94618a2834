//! K-quants: 256 values, one or two f16 scales, and small integer scales for groups of 16 or 32.

use super::{each_block, f16_at};

/// `scales[16] | qs[64] | d f16 | dmin f16`: `d s q - dmin m`, `s` and `m` the nibbles of `scales[i / 16]`
pub(super) fn decode_q2_k(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 84], values: &mut [f32; 256]| {
        let (scales, qs) = (&block[..16], &block[16..80]);
        let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
        for (i, value) in values.iter_mut().enumerate() {
            let (scale, min) = (f32::from(scales[i / 16] & 15), f32::from(scales[i / 16] >> 4));
            *value = d * scale * f32::from(two_bits(qs, i)) - dmin * min;
        }
    });
}

/// `hmask[32] | qs[64] | scales[12] | d f16`: `d s q`; a *clear* bit of `hmask` subtracts 4 from `q`
pub(super) fn decode_q3_k(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 110], values: &mut [f32; 256]| {
        let (mask, qs, scales, d) = (&block[..32], &block[32..96], &block[96..108], f16_at(block, 108));
        for (i, value) in values.iter_mut().enumerate() {
            let scale = i16::from(six_bits(scales, i / 16)) - 32;
            let high = mask[i % 32] >> (i / 32) & 1;
            let q = i16::from(two_bits(qs, i) | high << 2) - 4;
            *value = d * f32::from(scale) * f32::from(q);
        }
    });
}

/// `d f16 | dmin f16 | scales[12] | qs[128]`: `d s q - dmin m`
pub(super) fn decode_q4_k(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 144], values: &mut [f32; 256]| {
        let (d, dmin, scales, qs) = (f16_at(block, 0), f16_at(block, 2), &block[4..16], &block[16..]);
        for (i, value) in values.iter_mut().enumerate() {
            let (scale, min) = scale_min(scales, i / 32);
            *value = d * f32::from(scale) * f32::from(four_bits(qs, i)) - dmin * f32::from(min);
        }
    });
}

/// `d f16 | dmin f16 | scales[12] | qh[32] | qs[128]`: `d s q - dmin m`
pub(super) fn decode_q5_k(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 176], values: &mut [f32; 256]| {
        let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
        let (scales, qh, qs) = (&block[4..16], &block[16..48], &block[48..]);
        for (i, value) in values.iter_mut().enumerate() {
            let (scale, min) = scale_min(scales, i / 32);
            let q = four_bits(qs, i) | (qh[i % 32] >> (i / 32) & 1) << 4;
            *value = d * f32::from(scale) * f32::from(q) - dmin * f32::from(min);
        }
    });
}

/// `ql[128] | qh[64] | scales i8[16] | d f16`: `d s (q - 32)`
pub(super) fn decode_q6_k(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 210], values: &mut [f32; 256]| {
        let (ql, qh, scales, d) = (&block[..128], &block[128..192], &block[192..208], f16_at(block, 208));
        for (i, value) in values.iter_mut().enumerate() {
            let (half, r) = (i / 128, i % 128);
            let low = ql[64 * half + r % 64] >> (4 * (r / 64)) & 15;
            let high = qh[32 * half + r % 32] >> (2 * (r / 32)) & 3;
            let q = i16::from(low | high << 4) - 32;
            *value = d * f32::from(scales[i / 16] as i8) * f32::from(q);
        }
    });
}

/// Value `i` of Q2_K and Q3_K: four values 32 apart share a byte.
fn two_bits(qs: &[u8], i: usize) -> u8 {
    qs[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32)) & 3
}

/// Value `i` of Q4_K and Q5_K: two values 32 apart share a byte.
fn four_bits(qs: &[u8], i: usize) -> u8 {
    qs[32 * (i / 64) + i % 32] >> (4 * (i % 64 / 32)) & 15
}

/// Scale `j` of sixteen 6-bit scales in 12 bytes (Q3_K): low halves in 8 bytes, high pairs in 4.
fn six_bits(s: &[u8], j: usize) -> u8 {
    (s[j % 8] >> (4 * (j / 8)) & 15) | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4
}

/// Scale and minimum `j` of eight 6-bit pairs in 12 bytes (Q4_K, Q5_K): four pairs whole, whose upper two bits hold
/// those of the other four.
fn scale_min(s: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        (s[j + 4] & 15 | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4)
    }
}
