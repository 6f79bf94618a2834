//! Blocks of 32 values of 5 bits: Q5_0 and Q5_1.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, LANES, Line, Simd, TileMut, f16s, field, line, words};

/// `d | qh u32 | qs[16]`: `(q - 16) d`
pub(crate) struct Q5_0;

impl Format for Q5_0 {
    const BLOCK: &'static BlockType = &blocks::Q5_0;
    const FIELDS: &'static [Field] = &[field(2, 1), field(4, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const SIGNED: bool = true;
    const BLOCKWISE: bool = true;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, _)) = tile.sized::<{ Self::BYTES }, 8, 1>(blocks) else { return };
        s.store(f16s(s, blocks), &mut scale[0]);
        five_bits(&blocks[2 * LANES..], q, 112);
    }
}

/// `d | m | qh u32 | qs[16]`: `q d + m`
pub(crate) struct Q5_1;

impl Format for Q5_1 {
    const BLOCK: &'static BlockType = &blocks::Q5_1;
    const FIELDS: &'static [Field] = &[field(2, 1), field(2, 1), field(4, 1), field(4, 4)];
    const VALUES: usize = 32;
    const GROUP: usize = 32;
    const SIGNED: bool = false;
    const BLOCKWISE: bool = true;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, offset)) = tile.sized::<{ Self::BYTES }, 8, 1>(blocks) else { return };
        s.store(f16s(s, blocks), &mut scale[0]);
        s.store(f16s(s, &blocks[2 * LANES..]), &mut offset[0]);
        five_bits(&blocks[4 * LANES..], q, 0);
    }
}

/// A word whose bit `i` is the fifth of value `i`, then the lower four as in Q4_0; adds `bias`.
#[inline(always)]
fn five_bits(bytes: &[u8], q: &mut [Line], bias: u8) {
    let fifth = words(&bytes[..64]);
    for j in 0..4 {
        let low = line(&bytes[64..], j);
        for (to, shift, quad) in [(j, 0, 4 * j), (4 + j, 4, 4 * j + 16)] {
            let high = spread(&fifth, quad as u32);
            for i in 0..64 {
                q[to][i] = (low[i] >> shift & 15 | high[i]) + bias;
            }
        }
    }
}

/// Bits `at..at + 4` of each row's word as bit 4 of its four bytes.
#[inline(always)]
fn spread(words: &[u32; LANES], at: u32) -> Line {
    let mut line = [0; 64];
    for (bytes, word) in line.as_chunks_mut().0.iter_mut().zip(words) {
        // Times 1 + 2^7 + 2^14 + 2^21: bit `i` comes to place `8 i`.
        let bits = ((word >> at & 15) * 0x0020_4081) & 0x0101_0101;
        *bytes = (bits << 4).to_le_bytes();
    }
    line
}
