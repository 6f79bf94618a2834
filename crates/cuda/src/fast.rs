//! Products of many rows by a library, which is quick and adds in an order of its own: bits depend on how many rows there are.

use plimsoll_backend::Error;
use plimsoll_model::{Decoder, Mixer, Mlp};

use crate::backend::Cuda;
use crate::device::{Buffer, Device};
use crate::driver::{Driver, Gemm};
use crate::params::{self, THREADS};
use crate::product::{Input, Output, matrices};
use crate::weights::{Linear, Norm};

/// Rows from which on weights are made bf16 for a product: writing them takes as long as reading them four times.
pub(crate) const ROWS: usize = 64;

/// What products are made from on the way.
pub(crate) struct Fast<D: Driver> {
    /// A matrix, bf16.
    weights: Buffer<D>,
    /// Rows of activations, bf16.
    activations: Buffer<D>,
    /// f32 `[rows, ..]`
    results: Buffer<D>,
}

/// Values of a row in bf16: whole words for the library.
fn stride(width: usize) -> usize {
    width.next_multiple_of(8)
}

/// Bytes for all products of a model's layers with so many rows: of a matrix, of activations, of results.
pub(crate) fn bytes(decoder: &Decoder, rows: usize) -> [usize; 3] {
    let (mut matrix, mut width, mut results) = (0, decoder.width, 0);
    for layer in &decoder.layers {
        let (Mixer::Gqa(gqa), Mlp::Dense(ffn)) = (&layer.mixer, &layer.mlp);
        let inner = gqa.q_width().max(ffn.width);
        matrix = matrix.max(inner * stride(decoder.width)).max(decoder.width * stride(inner));
        width = width.max(inner);
        results = results.max(decoder.width).max(2 * ffn.width).max(gqa.q_width() + 2 * gqa.kv_width());
    }
    [matrix * 2, rows * stride(width) * 2, rows * results * 4]
}

impl<D: Driver> Fast<D> {
    /// Room for all products of a model's layers with so many rows.
    pub(crate) fn new(device: &Device<D>, decoder: &Decoder, rows: usize) -> Result<Self, Error> {
        let [weights, activations, results] = bytes(decoder, rows);
        Ok(Self {
            weights: device.buffer(weights)?,
            activations: device.buffer(activations)?,
            results: device.buffer(results)?,
        })
    }
}

impl<D: Driver> Cuda<D> {
    /// `W norm(x) + b` as [`products`](Self::products) has it, of weights and activations in bf16.
    pub(crate) fn fast_products(
        &self,
        fast: &Fast<D>,
        linears: &[&Linear<D>],
        input: &Input<'_, D>,
        output: &Output<'_, D>,
    ) -> Result<(), Error> {
        let (width, columns) = (linears[0].width, input.count);
        let stride = stride(width);
        let rows: usize = linears.iter().map(|linear| linear.rows()).sum();
        let widen = params::WidenRows {
            x: input.x.address,
            rows: input.rows,
            norm: input.norm.map_or(0, Norm::address),
            out: fast.activations.address,
            width: width as u32,
            stride: stride as u32,
            eps: input.norm.map_or(0.0, |norm| norm.eps),
            padding: 0,
        };
        self.device.launch([columns, 1, 1], 64, widen)?;
        let mut start = 0;
        for linear in linears {
            let out = fast.weights.address;
            let widen = params::WidenMatrix { matrix: linear.matrix, out, width: width as u32, stride: stride as u32 };
            let groups = linear.rows() * width.div_ceil(32);
            self.device.launch([groups.div_ceil(THREADS as usize), 1, 1], 0, widen)?;
            self.device.gemm(&Gemm {
                w: fast.weights.address,
                x: fast.activations.address,
                out: fast.results.address + 4 * start as u64,
                rows: linear.matrix.rows,
                columns: columns as u32,
                width: width as u32,
                stride: stride as u32,
                out_stride: rows as u32,
                padding: 0,
            })?;
            start += linear.rows();
        }
        let finish = params::Finish {
            matrices: matrices(linears),
            from: fast.results.address,
            out: output.to.address,
            count: linears.len() as u32,
            action: output.action as u32,
            from_stride: rows as u32,
            stride: output.stride as u32,
        };
        self.device.launch([rows.div_ceil(THREADS as usize), columns, 1], 0, finish)
    }
}
