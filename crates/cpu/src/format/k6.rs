//! Q6_K: sixteen groups of 16 with a signed 8-bit scale, values from -32 to 31.

use plimsoll_formats::blocks::{self, BlockType};

use super::{Field, Format, Simd, TileMut, f16s, field, line, scaled, words};

pub(crate) struct Q6K;

impl Format for Q6K {
    const BLOCK: &'static BlockType = &blocks::Q6_K;
    const FIELDS: &'static [Field] = &[field(4, 32), field(4, 16), field(4, 4), field(2, 1)];
    const VALUES: usize = 256;
    const GROUP: usize = 16;
    const SIGNED: bool = true;
    const BLOCKWISE: bool = false;

    #[inline(always)]
    fn unpack<S: Simd>(s: S, blocks: &[u8], tile: TileMut<'_>) {
        let Some((blocks, q, scale, _)) = tile.sized::<{ Self::BYTES }, 64, 16>(blocks) else { return };
        let (low, rest) = blocks.split_at(32 * 64);
        let (high, rest) = rest.split_at(16 * 64);
        let (scales, d) = rest.split_at(4 * 64);
        let d = f16s(s, d);
        for (i, scale) in scale.iter_mut().enumerate().take(16) {
            let words = words(&scales[64 * (i / 4)..][..64]);
            scaled(s, d, |row| i32::from((words[row] >> (8 * (i % 4))) as i8), scale);
        }
        // Halves of 128 values; in each, four runs of 32 share bytes.
        for half in 0..2 {
            for j in 0..8 {
                let high = line(high, 8 * half + j);
                let (first, second) = (line(low, 16 * half + j), line(low, 16 * half + 8 + j));
                let at = 32 * half + j;
                for i in 0..64 {
                    q[at][i] = (first[i] & 15 | (high[i] & 3) << 4) + 96;
                    q[at + 8][i] = (second[i] & 15 | (high[i] >> 2 & 3) << 4) + 96;
                    q[at + 16][i] = (first[i] >> 4 | (high[i] >> 4 & 3) << 4) + 96;
                    q[at + 24][i] = (second[i] >> 4 | (high[i] >> 6) << 4) + 96;
                }
            }
        }
    }
}
