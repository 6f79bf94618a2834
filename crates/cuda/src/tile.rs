//! Products with many columns: activations are rounded or split once, then multiplied on tensor cores.

use plimsoll_backend::Error;

use crate::backend::{Cuda, WARPS};
use crate::driver::Driver;
use crate::pack::{GROUP, SLOTS};
use crate::params;
use crate::product::{Action, Input, Output, matrices};
use crate::weights::{Linear, Norm};

/// Bytes of a rounded group: its codes, and its scale and sums. And of one in two pieces of bf16.
pub(crate) const CODES: usize = GROUP;
pub(crate) const HEAD: usize = 8;
pub(crate) const PIECES: usize = 4 * GROUP;
/// Blocks of 64 columns that are enough to keep a GPU busy; to be measured.
const ENOUGH: usize = 64;

/// How a block shares a product: `Shape` in `kernels/tile.cu`.
struct Shape {
    rows: usize,
    columns: usize,
    /// Groups of all columns that are staged together, of rounded rows; of others half of them.
    copies: usize,
    /// Sums of a result that are kept.
    sums: usize,
}

/// Warps with rows of their own, and where several have the same ones.
const WIDE: Shape = Shape { rows: 128, columns: 64, copies: 128, sums: 1 };
const NARROW: Shape = Shape { rows: 32, columns: 16, copies: 256, sums: SLOTS };

impl Shape {
    fn shared(&self, rounds: bool) -> usize {
        let stage = if rounds { self.copies * (CODES + HEAD) } else { self.copies / 2 * PIECES };
        2 * stage + self.sums * self.rows * self.columns * 4
    }

    /// Blocks of so many columns of the matrices.
    fn grid<D: Driver>(&self, linears: &[&Linear<D>], action: Action, columns: usize) -> [usize; 3] {
        let blocks = match action {
            // Half of a block's rows are of the gate, half of what it gates.
            Action::Gate => linears[0].rows().div_ceil(self.rows / 2),
            _ => linears.iter().map(|linear| linear.rows().div_ceil(self.rows)).sum(),
        };
        [columns.div_ceil(self.columns), blocks, 1]
    }
}

/// Bytes of so many rows, whatever is made of them.
pub(crate) fn read_bytes(rows: usize, width: usize) -> usize {
    rows * width.div_ceil(GROUP) * usize::max(CODES + HEAD, PIECES)
}

impl<D: Driver> Cuda<D> {
    /// Where rows are as tensor cores take them: those that are not yet are rounded, or split.
    fn read_rows(&self, width: usize, rounds: bool, input: &Input<'_, D>) -> Result<(u64, u64), Error> {
        let Input { x, rows, count, norm, batch } = *input;
        if x.rounded {
            return Ok((x.address, x.heads()));
        }
        let codes = batch.read.address;
        let heads = if rounds { codes + (count * width.div_ceil(GROUP) * CODES) as u64 } else { 0 };
        let params = params::Rows {
            x: x.address,
            rows,
            norm: norm.map_or(0, Norm::address),
            codes,
            heads,
            width: width as u32,
            eps: norm.map_or(0.0, |norm| norm.eps),
        };
        let (grid, shared) = ([count, 1, 1], WARPS * 4);
        match rounds {
            true => self.device.launch(grid, shared, params::RoundRows(params))?,
            false => self.device.launch(grid, shared, params::SplitRows(params))?,
        }
        Ok((codes, heads))
    }

    /// `W norm(x) + b` of matrices that read the same rows, all of them quantized or all of them floats.
    pub(crate) fn tiles(
        &self,
        linears: &[&Linear<D>],
        input: Input<'_, D>,
        output: Output<'_, D>,
    ) -> Result<(), Error> {
        let Output { to, action, stride, scale, cap } = output;
        let (width, count) = (linears[0].width, input.count);
        let rounds = linears[0].rounds();
        let (codes, heads) = self.read_rows(width, rounds, &input)?;
        let tile = params::Tile {
            matrices: matrices(linears),
            codes,
            heads,
            out: to.address,
            action: action as u32,
            width: width as u32,
            columns: count as u32,
            stride: stride as u32,
            scale,
            cap,
        };
        let wide = WIDE.grid(linears, action, count);
        let is_wide = wide[0] * wide[1] >= ENOUGH;
        let (shape, grid) = if is_wide { (WIDE, wide) } else { (NARROW, NARROW.grid(linears, action, count)) };
        let shared = shape.shared(rounds);
        match (is_wide, rounds) {
            (true, true) => self.device.launch(grid, shared, params::Tile64(tile)),
            (true, false) => self.device.launch(grid, shared, params::FloatTile64(tile)),
            (false, true) => self.device.launch(grid, shared, params::Tile16(tile)),
            (false, false) => self.device.launch(grid, shared, params::FloatTile16(tile)),
        }
    }
}
