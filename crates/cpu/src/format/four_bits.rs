//! Blocks of 32 values of 4 or 8 bits: Q4_0, Q4_1, Q8_0, and the types whose 4 bits name a value of a table.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, LANES, Line, Simd, TileMut, f16s, field, line, map, scaled, words};

/// Values of IQ4_NL and IQ4_XS, plus 128.
const IQ4: [u8; 16] = [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];
/// Twice the values of FP4 E2M1, plus 128.
const FP4: [u8; 16] = [128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116];

/// `d | qs[16]`: `(q - 8) d`
pub(crate) struct Q4_0;

impl Format for Q4_0 {
    const BLOCK: &'static BlockType = &blocks::Q4_0;
    const FIELDS: &'static [Field] = &[field(2, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const SIGNED: bool = true;
    const BLOCKWISE: bool = true;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, _)) = tile.sized::<{ Self::BYTES }, 8, 1>(blocks) else { return };
        s.store(f16s(s, blocks), &mut scale[0]);
        nibbles(&blocks[2 * LANES..], q, |nibble| nibble + 120);
    }
}

/// `d | m | qs[16]`: `q d + m`
pub(crate) struct Q4_1;

impl Format for Q4_1 {
    const BLOCK: &'static BlockType = &blocks::Q4_1;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const SIGNED: bool = false;
    const BLOCKWISE: bool = true;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, offset)) = tile.sized::<{ Self::BYTES }, 8, 1>(blocks) else { return };
        s.store(f16s(s, blocks), &mut scale[0]);
        s.store(f16s(s, &blocks[2 * LANES..]), &mut offset[0]);
        nibbles(&blocks[4 * LANES..], q, |nibble| nibble);
    }
}

/// `d | qs[32]`: `q d`
pub(crate) struct Q8_0;

impl Format for Q8_0 {
    const BLOCK: &'static BlockType = &blocks::Q8_0;
    const FIELDS: &'static [Field] = &[field(2, 1), field(4, 8)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const SIGNED: bool = true;
    const BLOCKWISE: bool = true;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, _)) = tile.sized::<{ Self::BYTES }, 8, 1>(blocks) else { return };
        s.store(f16s(s, blocks), &mut scale[0]);
        for (j, q) in q.iter_mut().enumerate() {
            map(line(&blocks[2 * LANES..], j), q, |byte| byte ^ 128);
        }
    }
}

/// `d | qs[16]`: `table[q] d`
pub(crate) struct Iq4Nl;

impl Format for Iq4Nl {
    const BLOCK: &'static BlockType = &blocks::IQ4_NL;
    const FIELDS: &'static [Field] = &[field(2, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const SIGNED: bool = true;
    const BLOCKWISE: bool = true;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, _)) = tile.sized::<{ Self::BYTES }, 8, 1>(blocks) else { return };
        s.store(f16s(s, blocks), &mut scale[0]);
        nibbles(&blocks[2 * LANES..], q, |nibble| nibble);
        look_up(s, &IQ4, &mut q[..8]);
    }
}

/// `e | qs[16]`: `table[q] 2^(e - 128)`
pub(crate) struct Mxfp4;

impl Format for Mxfp4 {
    const BLOCK: &'static BlockType = &blocks::MXFP4;
    const FIELDS: &'static [Field] = &[field(1, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const SIGNED: bool = true;
    const BLOCKWISE: bool = true;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, _)) = tile.sized::<{ Self::BYTES }, 8, 1>(blocks) else { return };
        for (scale, e) in scale[0].iter_mut().zip(&blocks[..LANES]) {
            // 2^-128 and 2^-127 are subnormal.
            let bits = if *e < 2 { 0x0020_0000 << e } else { (u32::from(*e) - 1) << 23 };
            *scale = f32::from_bits(bits);
        }
        nibbles(&blocks[LANES..], q, |nibble| nibble);
        look_up(s, &FP4, &mut q[..8]);
    }
}

/// `d | scales_h u16 | scales_l[4] | qs[128]`: `table[q] d (s - 32)`, eight groups with 6-bit scales
pub(crate) struct Iq4Xs;

impl Format for Iq4Xs {
    const BLOCK: &'static BlockType = &blocks::IQ4_XS;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 1), field(4, 32)];
    const VALUES: usize = 256;
    const GROUP: usize = 32;
    const SIGNED: bool = true;
    const BLOCKWISE: bool = false;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, _)) = tile.sized::<{ Self::BYTES }, 64, 8>(blocks) else { return };
        let d = f16s(s, blocks);
        let (high, low) = (super::halves(&blocks[2 * LANES..4 * LANES]), words(&blocks[4 * LANES..8 * LANES]));
        for (group, scale) in scale.iter_mut().enumerate().take(8) {
            let of = |row: usize| low[row] >> (4 * group) & 15 | (u32::from(high[row]) >> (2 * group) & 3) << 4;
            scaled(s, d, |row| of(row) as i32 - 32, scale);
        }
        for group in 0..8 {
            let q = &mut q[8 * group..8 * group + 8];
            nibbles(&blocks[8 * LANES + 4 * 64 * group..], q, |nibble| nibble);
            look_up(s, &IQ4, q);
        }
    }
}

/// Four lines of nibbles into eight: the low ones are the first 16 values, the high ones the others.
#[inline(always)]
fn nibbles(lines: &[u8], q: &mut [Line], f: impl Fn(u8) -> u8) {
    for j in 0..4 {
        let line = line(lines, j);
        map(line, &mut q[j], |byte| f(byte & 15));
        map(line, &mut q[4 + j], |byte| f(byte >> 4));
    }
}

/// Replaces every byte by its value in a table.
#[inline(always)]
fn look_up<S: Simd>(s: S, table: &[u8; 16], lines: &mut [Line]) {
    for line in lines {
        *line = s.lookup(table, line);
    }
}
