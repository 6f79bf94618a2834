//! Products of matrices with rows of activations.

use plimsoll_backend::Error;

use crate::backend::{Cuda, WARPS};
use crate::batch::Batch;
use crate::device::Buffer;
use crate::driver::Driver;
use crate::fast::{self, Fast};
use crate::pack::{GROUP, SLOTS, TILE_ROWS};
use crate::params::{self, THREADS};
use crate::tile::{CODES, HEAD, PIECES};
use crate::weights::{Linear, Norm};

/// Blocks of a product at most: each reads the activations once, whatever its warps multiply them with.
const BLOCKS: usize = 1024;

/// What becomes of a product, by its number in the kernels.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Store = 0,
    Add = 1,
    Gate = 2,
    Logits = 3,
}

/// Columns up to which all weights are read for every four of them; from where on it is faster to share what is read is to be
/// measured.
const FEW: usize = 4;

/// What a product reads: rows of f32, all of them or those of a list, and the norm they go through; or rows in eight bits.
pub(crate) struct Input<'a, D: Driver> {
    pub(crate) x: &'a Buffer<D>,
    pub(crate) rows: u64,
    pub(crate) count: usize,
    pub(crate) norm: Option<&'a Norm<D>>,
    pub(crate) batch: &'a Batch<D>,
}

/// Where a product goes.
pub(crate) struct Output<'a, D: Driver> {
    pub(crate) to: &'a Buffer<D>,
    pub(crate) action: Action,
    pub(crate) stride: usize,
    pub(crate) scale: f32,
    pub(crate) cap: f32,
}

impl<'a, D: Driver> Output<'a, D> {
    pub(crate) fn new(to: &'a Buffer<D>, action: Action, stride: usize) -> Self {
        Self { to, action, stride, scale: 1.0, cap: 0.0 }
    }
}

/// Bytes of shared memory that products with so many columns take.
pub(crate) fn shared<D: Driver>(linears: &[&Linear<D>], columns: usize) -> usize {
    let groups = linears[0].width.div_ceil(GROUP);
    let rounded = groups.next_multiple_of(SLOTS) * (CODES + HEAD);
    // With room that keeps columns apart.
    let split = groups * PIECES + PIECES / 2;
    let has = |rounds: bool| linears.iter().any(|linear| linear.rounds() == rounds);
    let column = if has(true) { rounded } else { 0 } + if has(false) { split } else { 0 };
    // Behind the rows: sums of the block, of its threads, and a group of results.
    columns * column + 64 + columns * 4 * (THREADS as usize + GROUP)
}

/// As kernels take them: as many as there are, then the first again.
pub(crate) fn matrices<D: Driver>(linears: &[&Linear<D>]) -> [params::Matrix; 3] {
    std::array::from_fn(|i| linears.get(i).unwrap_or(&linears[0]).matrix)
}

/// Who does a product.
pub(crate) enum Class<'a, D: Driver> {
    /// A library.
    Library(&'a Fast<D>),
    /// Blocks that share what they read.
    Tiles,
    /// All weights are read for every few columns.
    Few,
}

/// A launch for few columns.
pub(crate) struct Few {
    pub(crate) params: params::Matvec,
    pub(crate) grid: [usize; 3],
    /// Of a block: one or four.
    pub(crate) columns: usize,
    /// Bytes of shared memory.
    pub(crate) shared: usize,
}

impl<D: Driver> Cuda<D> {
    /// `W norm(x) + b` of matrices that read the same rows.
    pub(crate) fn products(
        &self,
        linears: &[&Linear<D>],
        input: Input<'_, D>,
        output: Output<'_, D>,
    ) -> Result<(), Error> {
        match self.class(linears, &input, output.action) {
            Class::Library(fast) => self.fast_products(fast, linears, &input, &output),
            Class::Tiles => self.tiles(linears, input, output),
            Class::Few => {
                let Few { params, grid, columns, shared } = self.few(linears, &input, &output);
                match columns {
                    1 => self.device.launch(grid, shared, params::Matvec1(params)),
                    _ => self.device.launch(grid, shared, params::Matvec4(params)),
                }
            }
        }
    }

    /// Who does it.
    pub(crate) fn class<'a>(&self, linears: &[&Linear<D>], input: &Input<'a, D>, action: Action) -> Class<'a, D> {
        let alike = linears.iter().all(|linear| linear.rounds() == linears[0].rounds());
        let few = input.count == 1 || (input.count <= FEW && self.has_room(linears));
        match input.batch.fast() {
            Some(fast) if input.count >= fast::ROWS && !matches!(action, Action::Logits) => Class::Library(fast),
            _ if alike && !few => Class::Tiles,
            _ => Class::Few,
        }
    }

    /// Whether the shared memory of a block takes as many columns as are few.
    fn has_room(&self, linears: &[&Linear<D>]) -> bool {
        shared(linears, FEW) <= self.device.shared_limit()
    }

    /// What reads all weights for every few columns.
    pub(crate) fn few(&self, linears: &[&Linear<D>], input: &Input<'_, D>, output: &Output<'_, D>) -> Few {
        let Input { x, rows, count, norm, .. } = *input;
        let Output { to, action, stride, scale, cap } = *output;
        let width = linears[0].width;
        let columns = if count > 1 && self.has_room(linears) { FEW } else { 1 };
        let panels = |linear: &&Linear<D>| linear.rows().div_ceil(TILE_ROWS) * WARPS;
        let panels = match action {
            Action::Gate => panels(&linears[0]),
            _ => linears.iter().map(panels).sum(),
        };
        // Two turns of all warps are a group of results.
        let turns = panels.div_ceil(WARPS * BLOCKS).next_multiple_of(if to.rounded { 2 } else { 1 });
        let params = params::Matvec {
            matrices: matrices(linears),
            x: x.address,
            heads: x.heads(),
            rows,
            norm: norm.map_or(0, Norm::address),
            out: to.address,
            out_heads: to.heads(),
            count: linears.len() as u32,
            action: action as u32,
            width: width as u32,
            columns: count as u32,
            stride: stride as u32,
            turns: turns as u32,
            eps: norm.map_or(0.0, |norm| norm.eps),
            scale,
            cap,
            padding: 0,
        };
        let grid = [panels.div_ceil(WARPS * turns), count.div_ceil(columns), 1];
        Few { params, grid, columns, shared: shared(linears, columns) }
    }
}
