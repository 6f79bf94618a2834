//! Unquantized types: a block is one little-endian number.

use half::{bf16, f16};

use super::{each_block, each_group};

pub(super) fn decode_f32(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |&block: &[u8; 4], [value]| *value = f32::from_le_bytes(block));
}

pub(super) fn decode_f16(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |&block: &[u8; 2], [value]| *value = f16::from_le_bytes(block).to_f32());
}

/// The upper half of an f32.
pub(super) fn decode_bf16(blocks: &[u8], values: &mut [f32]) {
    each_block(blocks, values, |&block: &[u8; 2], [value]| *value = bf16::from_le_bytes(block).to_f32());
}

pub(super) fn encode_f32(values: &[f32], blocks: &mut [u8]) {
    each_group(values, blocks, |[value], block: &mut [u8; 4]| *block = value.to_le_bytes());
}

pub(super) fn encode_f16(values: &[f32], blocks: &mut [u8]) {
    each_group(values, blocks, |&[value], block: &mut [u8; 2]| *block = f16::from_f32(value).to_le_bytes());
}

/// Round to nearest even; NaN stays a quiet NaN.
pub(super) fn encode_bf16(values: &[f32], blocks: &mut [u8]) {
    each_group(values, blocks, |&[value], block: &mut [u8; 2]| *block = bf16::from_f32(value).to_le_bytes());
}
