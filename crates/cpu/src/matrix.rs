//! A packed matrix.

use plimsoll_backend::Error;
use plimsoll_formats::TensorView;
use plimsoll_formats::blocks::{self, BlockType};

use crate::activations::Rounding;
use crate::format::*;
use crate::memory::{Memory, Place};
use crate::pool::Pool;
use crate::shared::Chunks;
use crate::simd::{Isa, Kernel, LANES, Simd};

/// Runs an expression with `$F` the kernels' type of a block type; integer types first, then floats.
macro_rules! with_type {
    ($block:expr, $F:ident => $int:expr, $G:ident => $float:expr) => {
        with_type!(@ $block, $F => $int, $G => $float,
            [Q4K Q5K Q6K Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2K Q3K Iq4Nl Iq4Xs Mxfp4])
    };
    (@ $block:expr, $F:ident => $int:expr, $G:ident => $float:expr, [$($type:ident)*]) => {
        match $block.id {
            $(id if id == <$crate::format::$type as $crate::format::Format>::BLOCK.id => {
                #[allow(dead_code)]
                type $F = $crate::format::$type;
                $int
            })*
            id if id == plimsoll_formats::blocks::F16.id => {
                #[allow(dead_code)]
                type $G = $crate::format::F16;
                $float
            }
            id if id == plimsoll_formats::blocks::BF16.id => {
                #[allow(dead_code)]
                type $G = $crate::format::Bf16;
                $float
            }
            _ => {
                #[allow(dead_code)]
                type $G = $crate::format::F32;
                $float
            }
        }
    };
}
pub(crate) use with_type;

/// Weights `[rows, width]` in panels of sixteen rows, inside the model's memory.
pub(crate) struct Matrix {
    pub(crate) block: &'static BlockType,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    place: Place,
}

impl Matrix {
    /// Packs a matrix.
    ///
    /// # Errors
    /// If the system does not give the memory.
    pub(crate) fn pack(view: &TensorView<'_>, memory: &mut Memory, pool: &Pool) -> Result<Self, Error> {
        let (rows, width) = (view.shape[0], view.shape[1]);
        let block = view.block;
        let row_bytes = view.data.len() / rows.max(1);
        let fields = fields(block);
        let place = memory.take(rows.next_multiple_of(LANES) * row_bytes)?;
        pool.each(Chunks::new(memory.get_mut(place), LANES * row_bytes), |panel, packed| {
            let first = panel * LANES;
            let rows: Vec<&[u8]> =
                (first..rows.min(first + LANES)).map(|row| &view.data[row * row_bytes..][..row_bytes]).collect();
            for (i, packed) in packed.chunks_exact_mut(LANES * block.bytes).enumerate() {
                let mut blocks: [&[u8]; LANES] = [&[]; LANES];
                let blocks = &mut blocks[..rows.len()];
                blocks.iter_mut().zip(&rows).for_each(|(to, row)| *to = &row[i * block.bytes..][..block.bytes]);
                pack(&fields, blocks, packed);
            }
        });
        Ok(Self { block, rows, width, place })
    }

    /// What its products want of activations.
    pub(crate) fn rounding(&self) -> Rounding {
        with_type!(self.block,
            F => if F::BLOCKWISE { Rounding::Block } else { Rounding::Tile },
            G => Rounding::None)
    }

    /// Panels, the last one possibly filled up with rows of zeros.
    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// The bytes of a panel.
    #[inline(always)]
    pub(crate) fn panel<'a>(&self, memory: &'a Memory, panel: usize) -> &'a [u8] {
        let bytes = LANES * self.width / self.block.values * self.block.bytes;
        &memory.get(self.place)[panel * bytes..][..bytes]
    }

    /// One row, decoded.
    pub(crate) fn row(&self, isa: Isa, memory: &Memory, row: usize, values: &mut [f32]) {
        let (panel, lane) = (self.panel(memory, row / LANES), row % LANES);
        with_type!(self.block,
            F => isa.run(Row::<F> { panel, lane, values, format: std::marker::PhantomData }),
            G => isa.run(FloatRow::<G> { panel, lane, values, format: std::marker::PhantomData }))
    }
}

/// Words of a block, as they are interleaved.
fn fields(block: &BlockType) -> Vec<Field> {
    with_type!(block, F => F::FIELDS.to_vec(), G => vec![Field { word: G::BYTES, words: 1 }])
}

struct Row<'a, F> {
    panel: &'a [u8],
    lane: usize,
    values: &'a mut [f32],
    format: std::marker::PhantomData<F>,
}

impl<F: Format> Kernel for Row<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut tile = Tile::ZERO;
        for (blocks, values) in self.panel.chunks_exact(F::BYTES).zip(self.values.chunks_exact_mut(F::VALUES)) {
            tile.unpack::<S, F>(s, blocks, 0, blocks.as_ptr());
            for (k, value) in values.iter_mut().enumerate() {
                let (q, group) = (i32::from(tile.q[k / 4][4 * self.lane + k % 4]), k / F::GROUP);
                *value = match F::ZERO {
                    0 => tile.scale[group][self.lane] * q as f32 + tile.offset[group][self.lane],
                    zero => tile.scale[group][self.lane] * (q - zero) as f32,
                };
            }
        }
    }
}

struct FloatRow<'a, F> {
    panel: &'a [u8],
    lane: usize,
    values: &'a mut [f32],
    format: std::marker::PhantomData<F>,
}

impl<F: Float> Kernel for FloatRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (bytes, value) in self.panel.chunks_exact(LANES * F::BYTES).zip(self.values) {
            let mut lanes = [0.0; LANES];
            s.store(F::load(s, bytes), &mut lanes);
            *value = lanes[self.lane];
        }
    }
}

/// Every type that can be packed.
pub(crate) fn packs(block: &BlockType) -> bool {
    with_type!(block, F => F::BLOCK.id == block.id, G => [&blocks::F32, &blocks::F16, &blocks::BF16].contains(&block))
}
