//! From blocks as files have them to planes as kernels read them: `kernels/format.cuh` and `floats.cuh` say how they lie.

use std::borrow::Cow;

use plimsoll_backend::Error;
use plimsoll_formats::TensorView;
use plimsoll_formats::blocks::{self, BlockType};

/// Values of a group, slots of a row, rows of a panel.
pub(crate) const GROUP: usize = 32;
pub(crate) const SLOTS: usize = 16;
pub(crate) const PANEL: usize = 2;
/// Rows that floats are packed in, and that every matrix has a multiple of.
pub(crate) const TILE_ROWS: usize = 16;
/// Rows of a panel times slots.
const LANES: usize = PANEL * SLOTS;
/// Panels that are not worth another thread.
const SERIAL: usize = 64;

/// Codes of 32 values of a block type.
type Codes = [u8; GROUP];

/// How a block type lies on the device.
pub(crate) struct Format {
    pub(crate) block: &'static BlockType,
    /// Its number in the kernels.
    pub(crate) id: u32,
    /// Bytes a value of the plane of codes, or 0 where two values share one.
    bytes: usize,
    /// Bits above four, in bytes a group.
    high: usize,
    /// Bytes of scales a group, and a block of 256.
    scales: usize,
    per_block: usize,
    /// Codes of a group of a block.
    codes: fn(&[u8], usize, &mut Codes),
    /// Where a block has what goes to the scales of a group and of the block.
    scale_of: fn(usize) -> usize,
    block_scales: usize,
}

/// A matrix in planes.
pub(crate) struct Packed {
    pub(crate) codes: Vec<u8>,
    pub(crate) high: Vec<u8>,
    pub(crate) scales: Vec<u8>,
    pub(crate) blocks: Vec<u8>,
}

fn none(_: &[u8], _: usize, _: &mut Codes) {}

fn first(_: usize) -> usize {
    0
}

/// `low` then `high` nibbles of sixteen bytes.
fn halves(bytes: &[u8], codes: &mut Codes) {
    for (i, byte) in bytes.iter().enumerate() {
        (codes[i], codes[i + 16]) = (byte & 15, byte >> 4);
    }
}

fn q8_0(block: &[u8], _: usize, codes: &mut Codes) {
    codes.copy_from_slice(&block[2..34]);
}

fn q4_0(block: &[u8], _: usize, codes: &mut Codes) {
    halves(&block[2..18], codes);
}

fn mxfp4(block: &[u8], _: usize, codes: &mut Codes) {
    halves(&block[1..17], codes);
}

/// Nibbles of 64 values: the low ones first.
fn nibbles(bytes: &[u8], group: usize, codes: &mut Codes) {
    let bytes = &bytes[group / 2 * 32..][..32];
    codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code = byte >> (4 * (group % 2)) & 15);
}

fn q4_k(block: &[u8], group: usize, codes: &mut Codes) {
    nibbles(&block[16..], group, codes);
}

fn q5_k(block: &[u8], group: usize, codes: &mut Codes) {
    nibbles(&block[48..], group, codes);
    codes.iter_mut().zip(&block[16..48]).for_each(|(code, high)| *code |= (high >> group & 1) << 4);
}

/// Halves of 128 values; in each, two groups in the low nibbles and two in the high ones.
fn q6_k(block: &[u8], group: usize, codes: &mut Codes) {
    let (half, part) = (group / 4, group % 4);
    let (low, high) = (&block[64 * half + 32 * (part % 2)..], &block[128 + 32 * half..]);
    for (i, code) in codes.iter_mut().enumerate() {
        *code = low[i] >> (4 * (part / 2)) & 15 | (high[i] >> (2 * part) & 3) << 4;
    }
}

/// Puts a row of floats, in pairs of so many bytes, where `kernels/floats.cuh` says.
fn float_row<const PAIR: usize>(data: &[u8], row: usize, to: &mut [u8]) {
    let place = |i: usize| {
        let (group, pair) = (i / (GROUP / 2), i % (GROUP / 2));
        let (lane, half) = (row % 8 * 4 + pair / 4, pair / 2 % 2);
        (((group * 2 + half) * 32 + lane) * 4 + pair % 2 * 2 + row / 8) * PAIR
    };
    let (pairs, rest) = data.as_chunks::<PAIR>();
    for (i, pair) in pairs.iter().enumerate() {
        to[place(i)..][..PAIR].copy_from_slice(pair);
    }
    if !rest.is_empty() {
        to[place(pairs.len())..][..rest.len()].copy_from_slice(rest);
    }
}

fn floats(block: &'static BlockType, id: u32, bytes: usize) -> Format {
    Format { block, id, bytes, high: 0, scales: 0, per_block: 0, codes: none, scale_of: first, block_scales: 0 }
}

impl Format {
    /// How a block type is packed; others are made to Q8_0 first.
    pub(crate) fn of(block: &BlockType) -> Option<Format> {
        let quantized = |block, id, codes| Format {
            block,
            id,
            bytes: 0,
            high: 0,
            scales: 2,
            per_block: 0,
            codes,
            scale_of: first,
            block_scales: 0,
        };
        let k = |block, id, high, codes| Format { high, scales: 0, per_block: 16, ..quantized(block, id, codes) };
        let formats = [
            floats(&blocks::F32, 0, 4),
            floats(&blocks::F16, 1, 2),
            floats(&blocks::BF16, 2, 2),
            Format { bytes: 1, ..quantized(&blocks::Q8_0, 3, q8_0) },
            quantized(&blocks::Q4_0, 4, q4_0),
            Format { scales: 1, ..quantized(&blocks::MXFP4, 5, mxfp4) },
            k(&blocks::Q4_K, 6, 0, q4_k),
            k(&blocks::Q5_K, 7, 4, q5_k),
            Format {
                high: 8,
                per_block: 2,
                scale_of: |group| 192 + 2 * group,
                block_scales: 208,
                ..quantized(&blocks::Q6_K, 8, q6_k)
            },
        ];
        formats.into_iter().find(|format| format.block.id == block.id)
    }

    /// Packs a matrix of this type, on all cores.
    pub(crate) fn pack(&self, data: &[u8], rows: usize, width: usize) -> Result<Packed, Error> {
        let panel_bytes = self.panel_rows() * self.block.row_bytes(width)?;
        let (panels, sizes) = (self.panels(rows), self.sizes(width));
        let mut packed = sizes.map(|bytes| vec![0; panels * bytes]);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = panels.div_ceil(threads).max(SERIAL);
        std::thread::scope(|scope| {
            let mut rest = packed.each_mut().map(|plane| plane.as_mut_slice());
            for data in data.chunks(share * panel_bytes) {
                let count = data.len().div_ceil(panel_bytes);
                let mut own: [&mut [u8]; 4] = Default::default();
                for ((own, rest), bytes) in own.iter_mut().zip(&mut rest).zip(sizes) {
                    *own = rest.split_off_mut(..count * bytes).expect("room for all panels");
                }
                let run = move || {
                    for (i, data) in data.chunks(panel_bytes).enumerate() {
                        let mut panel = own.each_mut().map(|_| &mut [][..]);
                        for ((panel, own), bytes) in panel.iter_mut().zip(&mut own).zip(sizes) {
                            *panel = &mut own[i * bytes..][..bytes];
                        }
                        self.panel(data, width, panel);
                    }
                };
                scope.spawn(run);
            }
        });
        let [codes, high, scales, blocks] = packed;
        Ok(Packed { codes, high, scales, blocks })
    }

    /// Whether values have no codes.
    fn is_float(&self) -> bool {
        self.block.values == 1
    }

    /// Rows that lie together.
    fn panel_rows(&self) -> usize {
        if self.is_float() { TILE_ROWS } else { PANEL }
    }

    /// Panels of a matrix, whose last rows are followed by zeros until sixteen are there.
    fn panels(&self, rows: usize) -> usize {
        rows.next_multiple_of(TILE_ROWS) / self.panel_rows()
    }

    /// Planes of sixteen bytes that a group's codes take.
    fn planes(&self) -> usize {
        (self.bytes * GROUP / 16).max(1)
    }

    /// Bytes of a panel's codes, high bits, scales and scales of blocks.
    fn sizes(&self, width: usize) -> [usize; 4] {
        let groups = width.div_ceil(GROUP);
        if self.is_float() {
            return [groups * TILE_ROWS * GROUP * self.bytes, 0, 0, 0];
        }
        let places = groups.div_ceil(SLOTS) * LANES;
        [
            places * self.planes() * 16,
            places * self.high,
            places * self.scales,
            PANEL * groups.div_ceil(8) * self.per_block,
        ]
    }

    fn panel(&self, data: &[u8], width: usize, mut to: [&mut [u8]; 4]) {
        let groups = width.div_ceil(GROUP);
        let row_bytes = width / self.block.values * self.block.bytes;
        for (row, data) in data.chunks_exact(row_bytes.max(1)).enumerate() {
            match self.bytes {
                2 => float_row::<4>(data, row, to[0]),
                4 => float_row::<8>(data, row, to[0]),
                _ => self.row(data, row, groups, &mut to),
            }
        }
    }

    /// A row of blocks.
    fn row(&self, data: &[u8], row: usize, groups: usize, to: &mut [&mut [u8]; 4]) {
        let steps = groups.div_ceil(SLOTS);
        for group in 0..groups {
            self.group(data, group, (group % steps, row * SLOTS + group / steps), to);
        }
        if self.per_block > 0 {
            let to = to[3].chunks_exact_mut(self.per_block).skip(row * groups.div_ceil(8));
            for (block, to) in data.chunks_exact(self.block.bytes).zip(to) {
                to.copy_from_slice(&block[self.block_scales..][..self.per_block]);
            }
        }
    }

    fn group(&self, row: &[u8], group: usize, (step, lane): (usize, usize), to: &mut [&mut [u8]; 4]) {
        let [codes_to, high_to, scales_to, _] = to;
        let mut plane = |plane: usize, bytes: &[u8]| {
            codes_to[((step * self.planes() + plane) * LANES + lane) * 16..][..bytes.len()].copy_from_slice(bytes);
        };
        let per_block = self.block.values / GROUP;
        let block = &row[group / per_block * self.block.bytes..][..self.block.bytes];
        let mut codes = [0; GROUP];
        (self.codes)(block, group % per_block, &mut codes);
        if self.bytes == 1 {
            codes.chunks(16).enumerate().for_each(|(i, bytes)| plane(i, bytes));
        } else {
            let low: [u8; 16] = std::array::from_fn(|i| codes[i] & 15 | codes[i + 16] << 4);
            plane(0, &low);
        }
        let at = step * LANES + lane;
        let scales = &block[(self.scale_of)(group % per_block)..];
        scales_to[at * self.scales..][..self.scales].copy_from_slice(&scales[..self.scales]);
        let high = &mut high_to[at * self.high..][..self.high];
        for (i, code) in codes.iter().enumerate() {
            // Byte `i % 4` of word `i / 4`, whose bits lie beside those of the other words.
            match self.high {
                4 => high[i % 4] |= (code >> 4) << (i / 4),
                8 => high[i / 16 * 4 + i % 4] |= (code >> 4) << (2 * (i / 4 % 4)),
                _ => {}
            }
        }
    }
}

/// Bytes of every buffer of a tensor: planes of a matrix, f32 of a vector.
pub(crate) fn packed_bytes(block: &BlockType, shape: &[usize]) -> Vec<usize> {
    match shape {
        [rows, width] => {
            let format = Format::of(block).or_else(|| Format::of(&blocks::Q8_0)).expect("a format of the table");
            format.sizes(*width).map(|bytes| format.panels(*rows) * bytes).into()
        }
        _ => vec![shape.iter().product::<usize>() * 4],
    }
}

/// The order of rows in heads whose first `rotated` dimensions are turned in pairs, half of them apart: partners lie together,
/// so that what computes one has the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairs {
    pub(crate) head_dim: usize,
    pub(crate) rotated: usize,
}

impl Pairs {
    /// The row that lies at a place.
    fn row(self, place: usize) -> usize {
        let (head, i) = (place - place % self.head_dim, place % self.head_dim);
        let half = self.rotated / 2;
        head + if i < self.rotated { i % 2 * half + i / 2 } else { i }
    }

    /// Rows of `len` values each, in this order.
    pub(crate) fn order<T: Copy>(self, values: &[T], len: usize) -> Vec<T> {
        let rows = values.len() / len.max(1);
        (0..rows).flat_map(|place| &values[self.row(place) * len..][..len]).copied().collect()
    }
}

/// Packs a tensor, its rows in that order if there is one, and says in which format.
pub(crate) fn pack(view: &TensorView<'_>, pairs: Option<Pairs>) -> Result<(Format, Packed, usize, usize), Error> {
    let (rows, width) = match view.shape[..] {
        [rows, width] => (rows, width),
        _ => (1, view.len()),
    };
    let (format, data) = match Format::of(view.block) {
        Some(format) => (format, Cow::Borrowed(&view.data[..])),
        None => {
            let mut data = vec![0; blocks::Q8_0.tensor_bytes(&view.shape)?];
            blocks::Q8_0.encode(&view.to_f32()?, &mut data)?;
            (Format::of(&blocks::Q8_0).expect("a format of the table"), Cow::Owned(data))
        }
    };
    let data = match pairs {
        Some(pairs) => Cow::Owned(pairs.order(&data, format.block.row_bytes(width)?)),
        None => data,
    };
    let packed = format.pack(&data, rows, width)?;
    Ok((format, packed, rows, width))
}
