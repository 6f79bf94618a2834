//! How each block type is packed for the kernels, and unpacked into tiles.
//!
//! Sixteen rows make a panel. Packing only moves bytes: each field of a block is cut into words, and word `i` of the sixteen
//! rows is stored side by side, so that a panel takes exactly the bytes of its rows and one vector holds a word of every
//! row. A kernel unpacks a tile of 16 rows by 256 values into bytes and scales, which all integer types share.

mod five_bits;
mod four_bits;
mod k4;
mod k6;
mod low;

use std::sync::atomic::{Ordering::SeqCst, compiler_fence};

use plimsoll_formats::blocks::BlockType;

use crate::simd::{LANES, Lanes, Line, Simd};

pub(crate) use five_bits::{Q5_0, Q5_1};
pub(crate) use four_bits::{Iq4Nl, Iq4Xs, Mxfp4, Q4_0, Q4_1, Q8_0};
pub(crate) use k4::{Q4K, Q5K};
pub(crate) use k6::Q6K;
pub(crate) use low::{Q2K, Q3K};

/// Values of a row in a tile.
pub(crate) const TILE: usize = 256;

/// Sixteen rows of 256 values: `value = scale * q + offset`, scale and offset per row and group.
#[repr(C, align(64))]
pub(crate) struct Tile {
    /// Four values of each row to a line, plus [`Format::ZERO`].
    pub(crate) q: [Line; TILE / 4],
    /// Scales of each group.
    pub(crate) scale: [Lanes; TILE / 16],
    /// Offsets of each group, of types that have them.
    pub(crate) offset: [Lanes; TILE / 16],
}

impl Tile {
    pub(crate) const ZERO: Self =
        Self { q: [[0; 64]; TILE / 4], scale: [[0.0; LANES]; TILE / 16], offset: [[0.0; LANES]; TILE / 16] };

    /// Unpacks block `i` of each row, and asks for as many bytes at `ahead`.
    #[inline(always)]
    pub(crate) fn unpack<S: Simd, F: Format>(&mut self, s: S, block: &[u8], i: usize, ahead: *const u8) {
        let (quads, groups) = (F::VALUES / 4, F::VALUES / F::GROUP);
        let q = &mut self.q[quads * i..][..quads];
        for part in 0..F::PARTS {
            for line in 0..F::RUN {
                F::prefetch(s, line, ahead.wrapping_add(F::PART_BYTES * part));
                let lines = F::lines(s, block, part, line);
                for k in 0..F::SHARED {
                    s.store_line(lines[k], &mut q[(F::SHARED * part + k) * F::RUN + line]);
                }
            }
        }
        let (scale, offset) = (&mut self.scale[groups * i..][..groups], &mut self.offset[groups * i..][..groups]);
        for group in 0..groups {
            let terms = F::terms(s, block, group);
            s.store(terms.0, &mut scale[group]);
            if F::ZERO == 0 {
                s.store(terms.1, &mut offset[group]);
            }
        }
    }
}

/// A run of bytes in a block, cut into words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Bytes of a word: 4, or what is left for scales.
    pub(crate) word: usize,
    /// How many.
    pub(crate) words: usize,
}

/// Bytes of a block with these fields.
const fn bytes(fields: &[Field]) -> usize {
    let (mut bytes, mut i) = (0, 0);
    while i < fields.len() {
        bytes += fields[i].word * fields[i].words;
        i += 1;
    }
    bytes
}

const fn field(word: usize, words: usize) -> Field {
    Field { word, words }
}

/// An integer block type.
pub(crate) trait Format: 'static {
    /// The type in files.
    const BLOCK: &'static BlockType;
    /// Fields of a block in the order they have in files.
    const FIELDS: &'static [Field];
    /// Values of a block.
    const VALUES: usize;
    /// Bytes of the blocks of sixteen rows.
    const BYTES: usize = LANES * bytes(Self::FIELDS);
    /// Values that share a scale: 16 or 32.
    const GROUP: usize;
    /// What values are stored too large by: 128 if groups are of 32 values, 32 if they are of 16 (which leaves all below
    /// 128), 0 if groups have offsets.
    const ZERO: i32;
    /// Activations are scaled per 32 values; else per 256.
    const BLOCKWISE: bool;

    /// Lines of a run: of values that follow each other in a row.
    const RUN: usize;
    /// Runs whose values stand in the same bytes: a part of the block.
    const SHARED: usize;
    /// Parts of a block.
    const PARTS: usize = Self::VALUES / (4 * Self::RUN * Self::SHARED);
    /// Bytes of a part of sixteen rows.
    const PART_BYTES: usize = Self::BYTES / Self::PARTS;

    /// Line `i` of each run of a part, four values of each row; of four lines the first `SHARED` count.
    fn lines<S: Simd>(s: S, block: &[u8], part: usize, i: usize) -> Lines<S>;

    /// Scale and offset of a group.
    fn terms<S: Simd>(s: S, block: &[u8], group: usize) -> Terms<S>;

    /// Asks for a part's bytes from `ahead` on, a few with each of its `RUN` lines: asked for at once, they would wait.
    #[inline(always)]
    fn prefetch<S: Simd>(s: S, i: usize, ahead: *const u8) {
        let each = Self::PART_BYTES / 64 / Self::RUN;
        for line in 0..each {
            s.prefetch(ahead.wrapping_add(64 * (each * i + line)));
        }
        if i + 1 == Self::RUN {
            for line in each * Self::RUN..Self::PART_BYTES.div_ceil(64) {
                s.prefetch(ahead.wrapping_add(64 * line));
            }
        }
        // Keeps the compiler from asking for all at the end of what it unrolls.
        compiler_fence(SeqCst);
    }
}

/// Lines of runs that share bytes, in registers.
pub(crate) type Lines<S> = [<S as Simd>::B; 4];
/// Scale and offset of a group of each row.
pub(crate) type Terms<S> = (<S as Simd>::F, <S as Simd>::F);

/// Types whose values are floats: a block is one value.
pub(crate) trait Float: 'static {
    /// Bytes of a value.
    const BYTES: usize;
    /// Loads a value of each row.
    fn load<S: Simd>(s: S, values: &[u8]) -> S::F;
}

pub(crate) struct F32;
pub(crate) struct F16;
pub(crate) struct Bf16;

impl Float for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    fn load<S: Simd>(s: S, values: &[u8]) -> S::F {
        let (mut floats, words) = ([0.0; LANES], words(values));
        for (float, bits) in floats.iter_mut().zip(words) {
            *float = f32::from_bits(bits);
        }
        s.load(&floats)
    }
}

impl Float for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    fn load<S: Simd>(s: S, values: &[u8]) -> S::F {
        s.load_f16(&halves(values))
    }
}

impl Float for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    fn load<S: Simd>(s: S, values: &[u8]) -> S::F {
        let (mut floats, halves) = ([0.0; LANES], halves(values));
        for (float, bits) in floats.iter_mut().zip(halves) {
            *float = f32::from_bits(u32::from(bits) << 16);
        }
        s.load(&floats)
    }
}

/// Packs the blocks of up to sixteen rows; rows that are missing are zeros.
pub(crate) fn pack(fields: &[Field], rows: &[&[u8]], packed: &mut [u8]) {
    let (mut from, mut to) = (0, 0);
    for field in fields {
        for _ in 0..field.words {
            let line = &mut packed[to..to + LANES * field.word];
            match field.word {
                4 => copy_words::<4>(rows, from, line),
                2 => copy_words::<2>(rows, from, line),
                _ => copy_words::<1>(rows, from, line),
            }
            from += field.word;
            to += LANES * field.word;
        }
    }
}

#[inline(always)]
fn copy_words<const W: usize>(rows: &[&[u8]], from: usize, line: &mut [u8]) {
    for (row, word) in rows.iter().zip(line.as_chunks_mut::<W>().0) {
        word.copy_from_slice(&row[from..from + W]);
    }
}

/// A line of a panel.
#[inline(always)]
fn line(bytes: &[u8], index: usize) -> &Line {
    &bytes.as_chunks().0[index]
}

/// A 32-bit word of each row.
#[inline(always)]
fn words(bytes: &[u8]) -> [u32; LANES] {
    let mut words = [0; LANES];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

/// A 16-bit word of each row.
#[inline(always)]
fn halves(bytes: &[u8]) -> [u16; LANES] {
    let mut words = [0; LANES];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u16::from_le_bytes(*bytes);
    }
    words
}

/// An f16 of each row.
#[inline(always)]
fn f16s<S: Simd>(s: S, bytes: &[u8]) -> S::F {
    s.load_f16(&halves(&bytes[..2 * LANES]))
}

/// Lines of two runs that share bytes.
#[inline(always)]
fn pair<S: Simd>(low: S::B, high: S::B) -> Lines<S> {
    [low, high, low, high]
}

/// Two runs with `n` added to every byte.
#[inline(always)]
fn plus<S: Simd>(s: S, [low, high, ..]: Lines<S>, n: u8) -> Lines<S> {
    pair::<S>(s.add_byte(low, n), s.add_byte(high, n))
}

#[inline(always)]
fn negated<S: Simd>(s: S, value: S::F) -> S::F {
    s.sub(s.splat(0.0), value)
}

#[cfg(test)]
mod tests;
