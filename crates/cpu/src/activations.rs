//! Activations as the matrix products read them: int8 with float scales, or floats.

use crate::format::TILE;
use crate::pool::Pool;
use crate::shared::{Chunks, Strip, Strips};
use crate::simd::{Isa, Kernel, LANES, Lanes, Line, Simd, max_lanes, sum_lanes};

/// How activations are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Int8 with one scale for 256 values.
    Tile,
    /// Int8 with one scale for 32 values.
    Block,
    /// Not at all.
    None,
}

/// 256 values of one column in int8: `value = scale * group[k / 32] * q`.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Column {
    /// Four values each.
    pub(crate) q: [i32; TILE / 4],
    /// Minus 32 times the sum of each 16 values and minus 128 times that of each 32: what sums start from where weights are
    /// stored larger by that much.
    pub(crate) start16: [i32; TILE / 16],
    pub(crate) start32: [i32; TILE / 32],
    /// Sums of each 16 and each 32 values, times `group`: what offsets of weights are multiplied with.
    pub(crate) sum16: [f32; TILE / 16],
    pub(crate) sum32: [f32; TILE / 32],
    /// Scales of each 32 values; 1 where the tile has one scale.
    pub(crate) group: [f32; TILE / 32],
    /// Scale of the tile; 1 where each 32 values have their own.
    pub(crate) scale: f32,
}

impl Column {
    pub(crate) const ZERO: Self = Self {
        q: [0; TILE / 4],
        start16: [0; TILE / 16],
        start32: [0; TILE / 32],
        sum16: [0.0; TILE / 16],
        sum32: [0.0; TILE / 32],
        group: [0.0; TILE / 32],
        scale: 0.0,
    };

    /// Rounds up to 256 values; a multiple of 32.
    #[inline(always)]
    pub(crate) fn round<S: Simd>(&mut self, s: S, values: &[f32], rounding: Rounding) {
        let lanes = values.as_chunks::<LANES>().0;
        let whole = largest(s, lanes) / 127.0;
        self.scale = if rounding == Rounding::Tile { whole } else { 1.0 };
        for (i, lanes) in lanes.chunks(4).enumerate() {
            let mut line = [0_i8; 64];
            for (j, pair) in lanes.chunks_exact(2).enumerate() {
                let scale = if rounding == Rounding::Tile { whole } else { largest(s, pair) / 127.0 };
                self.group[2 * i + j] = if rounding == Rounding::Tile { 1.0 } else { scale };
                let inverse = s.splat(if scale > 0.0 { 1.0 / scale } else { 0.0 });
                let bytes = &mut line.as_chunks_mut().0[2 * j..];
                s.store_bytes(s.to_i(s.mul(s.load(&pair[0]), inverse)), &mut bytes[0]);
                s.store_bytes(s.to_i(s.mul(s.load(&pair[1]), inverse)), &mut bytes[1]);
            }
            let line = line.map(|byte| byte as u8);
            for (q, bytes) in self.q[LANES * i..].iter_mut().zip(line.as_chunks().0) {
                *q = i32::from_le_bytes(*bytes);
            }
            self.sum(s, i, &line);
        }
    }

    /// Sums of the 64 values of a line.
    #[inline(always)]
    fn sum<S: Simd>(&mut self, s: S, i: usize, line: &Line) {
        let mut quads = [0.0; LANES];
        s.store(s.to_f(s.dot4(s.splat_i(0), s.line(&[1; 64]), s.line(line))), &mut quads);
        for j in 0..2 {
            let group = self.group[2 * i + j];
            let [a, b] = [0, 1].map(|half| {
                let at = 8 * j + 4 * half;
                (quads[at] + quads[at + 1]) + (quads[at + 2] + quads[at + 3])
            });
            (self.start32[2 * i + j], self.sum32[2 * i + j]) = (-128 * (a + b) as i32, (a + b) * group);
            for (half, sum) in [a, b].into_iter().enumerate() {
                (self.start16[4 * i + 2 * j + half], self.sum16[4 * i + 2 * j + half]) =
                    (-32 * sum as i32, sum * group);
            }
        }
    }
}

/// The largest magnitude; not a number if any value is infinite or none, so that such values are not rounded away.
#[inline(always)]
fn largest<S: Simd>(s: S, lanes: &[Lanes]) -> f32 {
    let zero = s.splat(0.0);
    let (mut most, mut odd) = (zero, zero);
    for x in lanes {
        let x = s.load(x);
        most = s.max(s.abs(x), most);
        odd = s.fma(x, zero, odd);
    }
    max_lanes(s, most) + sum_lanes(s, odd)
}

/// Rounds a row into its columns, one for each tile.
struct RoundRow<'a> {
    values: &'a [f32],
    strip: Strip<'a, Column>,
    rounding: Rounding,
}

impl Kernel for RoundRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for (tile, values) in self.values.chunks(TILE).enumerate() {
            self.strip.row(tile)[0].round(s, values, self.rounding);
        }
    }
}

/// Activations of a step for matrices of `width` columns, in the roundings they ask for.
#[derive(Default)]
pub(crate) struct Activations {
    /// `[width / 256, rows]`, for `Rounding::Tile` and `Rounding::Block`.
    pub(crate) int: [Vec<Column>; 2],
    /// Before rounding, `[rows, width]`.
    pub(crate) float: Vec<f32>,
    pub(crate) rows: usize,
    pub(crate) width: usize,
}

impl Activations {
    /// Room for `rows` rows of `width`.
    pub(crate) fn resize(&mut self, rows: usize, width: usize, roundings: &[Rounding]) {
        (self.rows, self.width) = (rows, width);
        let columns = rows * width.div_ceil(TILE);
        grow(&mut self.float, rows * width, 0.0);
        for (list, rounding) in self.int.iter_mut().zip([Rounding::Tile, Rounding::Block]) {
            if roundings.contains(&rounding) {
                grow(list, columns, Column::ZERO);
            }
        }
    }

    /// Fills all rows in every one of `roundings`: `values` says where those of one are, or writes them.
    pub(crate) fn fill<'a>(
        &mut self,
        isa: Isa,
        pool: &Pool,
        roundings: &[Rounding],
        values: impl Fn(usize, &mut [f32]) -> Option<&'a [f32]> + Sync,
    ) {
        let Self { int: [tile, block], float, rows, width } = self;
        let (rows, width) = (*rows, *width);
        let len = width.div_ceil(TILE) * rows;
        let parts = (
            Chunks::new(&mut float[..rows * width], width),
            roundings.contains(&Rounding::Tile).then(|| Strips::new(&mut tile[..len], rows, rows, 1)),
            roundings.contains(&Rounding::Block).then(|| Strips::new(&mut block[..len], rows, rows, 1)),
        );
        let floats = roundings.contains(&Rounding::None);
        pool.each(parts, |row, (to, tile, block)| {
            let found = values(row, to);
            if let Some(found) = found.filter(|_| floats) {
                to.copy_from_slice(found);
            }
            let values = found.unwrap_or(to);
            for (strip, rounding) in [(tile, Rounding::Tile), (block, Rounding::Block)] {
                if let Some(strip) = strip {
                    isa.run(RoundRow { values, strip, rounding });
                }
            }
        });
    }

    /// Rounded rows for a type of weights.
    pub(crate) fn columns(&self, blockwise: bool) -> &[Column] {
        &self.int[usize::from(blockwise)]
    }
}

fn grow<T: Clone>(list: &mut Vec<T>, len: usize, zero: T) {
    if list.len() < len {
        list.resize(len, zero);
    }
}
