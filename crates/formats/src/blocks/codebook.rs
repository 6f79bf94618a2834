//! 4-bit indices into a table of 16 unequally spaced levels.

use super::{each_block, f16_at, nibble};

/// Levels of IQ4_NL and IQ4_XS.
const IQ4: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];
/// Levels of E2M1, doubled; both zeros are positive, as other readers have them.
const E2M1: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// `d f16 | qs[16]`: `d T[q]`
pub(super) fn decode_iq4_nl(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 18], values: &mut [f32; 32]| {
        let (d, qs) = (f16_at(block, 0), &block[2..]);
        for (i, value) in values.iter_mut().enumerate() {
            *value = d * IQ4[usize::from(nibble(qs, i))];
        }
    });
}

/// `d f16 | scales_h u16 | scales_l[4] | qs[128]`: `d (s - 32) T[q]`, six bits of `s` for each 32 values
pub(super) fn decode_iq4_xs(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 136], values: &mut [f32; 256]| {
        let (d, scales_h, scales_l) = (f16_at(block, 0), &block[2..4], &block[4..8]);
        for (k, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = scales_l[k / 2] >> (4 * (k % 2)) & 15;
            let high = scales_h[k / 4] >> (2 * (k % 4)) & 3;
            let scale = d * (f32::from(low | high << 4) - 32.0);
            for (i, value) in values.iter_mut().enumerate() {
                *value = scale * IQ4[usize::from(nibble(&block[8 + 16 * k..], i))];
            }
        }
    });
}

/// `e u8 | qs[16]`: `2^(e - 127) E[q]` (OCP Microscaling 1.0)
pub(super) fn decode_mxfp4(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |block: &[u8; 17], values: &mut [f32; 32]| {
        let (scale, qs) = (half_power(block[0]), &block[1..]);
        for (i, value) in values.iter_mut().enumerate() {
            *value = scale * E2M1[usize::from(nibble(qs, i))];
        }
    });
}

/// `2^(e - 128)`: half the scale, for the doubled levels. Subnormal for `e < 2`; 255, NaN in the standard, is taken as
/// the next power, as other readers do.
fn half_power(e: u8) -> f32 {
    match e {
        0 | 1 => f32::from_bits(0x0020_0000 << e),
        _ => f32::from_bits(u32::from(e - 1) << 23),
    }
}
