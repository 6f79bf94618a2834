//! Products of float matrices with many columns.

use plimsoll_backend::Error;

use crate::backend::{Cuda, WARPS};
use crate::driver::Driver;
use crate::pack::GROUP;
use crate::params;
use crate::product::{Action, Input, Output, matrices};
use crate::weights::{Linear, Norm};

/// Rows and columns of a block, and bytes between two values of what it stages.
const SIDE: usize = 64;
const STRIDE: usize = (SIDE + 4) * 4;

impl<D: Driver> Cuda<D> {
    /// `W norm(x) + b` of float matrices that read the same rows.
    pub(crate) fn float_tiles(
        &self,
        linears: &[&Linear<D>],
        input: &Input<'_, D>,
        output: &Output<'_, D>,
    ) -> Result<(), Error> {
        let Input { x, rows, count, norm, batch } = *input;
        let width = linears[0].width as u32;
        if let Some(norm) = norm {
            let out = batch.factors.address;
            let params = params::Factors { x: x.address, rows, out, width, eps: norm.eps };
            self.device.launch([count, 1, 1], WARPS * 4, params)?;
        }
        let sides = |linear: &&Linear<D>| linear.rows().div_ceil(SIDE);
        let blocks = match output.action {
            Action::Gate => sides(&linears[0]),
            _ => linears.iter().map(sides).sum(),
        };
        let params = params::FloatTile {
            matrices: matrices(linears),
            x: x.address,
            rows,
            norm: norm.map_or(0, Norm::address),
            factors: batch.factors.address,
            out: output.to.address,
            count: linears.len() as u32,
            action: output.action as u32,
            width,
            columns: count as u32,
            stride: output.stride as u32,
            scale: output.scale,
            cap: output.cap,
            padding: 0,
        };
        self.device.launch([count.div_ceil(SIDE), blocks, 1], 2 * GROUP * STRIDE, params)
    }
}
