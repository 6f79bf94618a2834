//! Products with many columns: activations are rounded once, then multiplied on tensor cores.

use plimsoll_backend::Error;

use crate::backend::{Cuda, WARPS};
use crate::driver::Driver;
use crate::pack::{GROUP, SLOTS};
use crate::params;
use crate::product::{Action, Input, Output, matrices};
use crate::weights::{Linear, Norm};

/// Bytes of a rounded group: its codes, and its scale and sums.
const CODES: usize = GROUP;
const HEAD: usize = 8;
/// Blocks of 64 columns that are enough to keep a GPU busy; to be measured.
const ENOUGH: usize = 64;

/// How a block shares a product: `Shape` in `kernels/tile.cu`.
struct Shape {
    rows: usize,
    columns: usize,
    /// Groups of all columns that are staged together.
    copies: usize,
    /// Sums of a result that are kept.
    sums: usize,
}

/// Warps with rows of their own, and where several have the same ones.
const WIDE: Shape = Shape { rows: 128, columns: 64, copies: 128, sums: 1 };
const NARROW: Shape = Shape { rows: 32, columns: 16, copies: 256, sums: SLOTS };

impl Shape {
    fn shared(&self) -> usize {
        2 * self.copies * (CODES + HEAD) + self.sums * self.rows * self.columns * 4
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

/// Bytes of so many rounded rows.
pub(crate) fn rounded_bytes(rows: usize, width: usize) -> usize {
    rows * width.div_ceil(GROUP) * (CODES + HEAD)
}

impl<D: Driver> Cuda<D> {
    /// Where rows are in eight bits: those that are not yet are rounded.
    fn round(&self, width: usize, input: &Input<'_, D>) -> Result<(u64, u64), Error> {
        let Input { x, rows, count, norm, batch } = *input;
        if x.rounded {
            return Ok((x.address, x.heads()));
        }
        let codes = batch.rounded.address;
        let heads = codes + (count * width.div_ceil(GROUP) * CODES) as u64;
        let params = params::RoundRows {
            x: x.address,
            rows,
            norm: norm.map_or(0, Norm::address),
            codes,
            heads,
            width: width as u32,
            eps: norm.map_or(0.0, |norm| norm.eps),
        };
        self.device.launch([count, 1, 1], WARPS * 4, params)?;
        Ok((codes, heads))
    }

    /// `W norm(x) + b` of quantized matrices that read the same rows.
    pub(crate) fn tiles(
        &self,
        linears: &[&Linear<D>],
        input: Input<'_, D>,
        output: Output<'_, D>,
    ) -> Result<(), Error> {
        let Output { to, action, stride, scale, cap } = output;
        let (width, count) = (linears[0].width, input.count);
        let (codes, heads) = self.round(width, &input)?;
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
        let grid = WIDE.grid(linears, action, count);
        if grid[0] * grid[1] >= ENOUGH {
            return self.device.launch(grid, WIDE.shared(), params::Tile64(tile));
        }
        self.device.launch(NARROW.grid(linears, action, count), NARROW.shared(), params::Tile16(tile))
    }
}
