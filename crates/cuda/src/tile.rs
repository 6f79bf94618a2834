//! Products with many columns: activations are rounded once, then multiplied on tensor cores.

use plimsoll_backend::Error;

use crate::backend::{Cuda, WARPS};
use crate::driver::Driver;
use crate::pack::GROUP;
use crate::params;
use crate::product::{Action, Input, Output};
use crate::weights::{Linear, Norm};

/// Rows of a warp, columns of a block, and groups that it stages together, twice.
const ROWS: usize = 16;
const COLUMNS: usize = 64;
const STAGE: usize = 4;
/// Bytes of a rounded group: its codes, and its scale and sums.
const CODES: usize = GROUP;
const HEAD: usize = 8;

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
        let blocks: usize = match action {
            // Half of a block's warps have the gate, half what it gates.
            Action::Gate => linears[0].rows().div_ceil(WARPS / 2 * ROWS),
            _ => linears.iter().map(|linear| linear.rows().div_ceil(WARPS * ROWS)).sum(),
        };
        let matrix = |i: usize| linears.get(i).unwrap_or(&linears[0]).matrix;
        let tile = params::Tile {
            matrices: [matrix(0), matrix(1), matrix(2)],
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
        let shared = 2 * STAGE * COLUMNS * (CODES + HEAD);
        self.device.launch([count.div_ceil(COLUMNS), blocks, 1], shared, tile)
    }
}
