//! Attention: which kernel takes which rows, on which grid.

use plimsoll_backend::Error;
use plimsoll_model::{Gqa, Mixer};

use crate::backend::Cuda;
use crate::batch::Batch;
use crate::cache::Cache;
use crate::device::Buffer;
use crate::driver::Driver;
use crate::params::{self, SPLIT};
use crate::weights::Weights;
use crate::work::{self, TILE};

/// Items of a launch that are worth memory for what they leave behind.
pub(crate) const ITEMS: usize = 4096;
/// Blocks that fill a multiprocessor.
const RESIDENT: usize = 4;
/// Values that are read at once: rows of the cache are filled up to whole units.
const UNIT: usize = 8;
/// Parts of a sum.
const PARTS: usize = 4;
/// Keys that tiles have in shared memory at a time, and queries of a warp.
const PIECE: usize = 64;
const OWN: usize = 8;
/// Bytes that say what a block is at: numbers, where a split's keys are, and their scales.
const PLACE: usize = 32 + 3 * SPLIT * 4;

/// Bytes of shared memory of a row's block with so many queries at a time.
fn row_shared(gqa: &Gqa, queries: usize) -> usize {
    let width = gqa.head_dim.next_multiple_of(UNIT);
    let parts = PARTS * usize::max(queries * width, queries * SPLIT + 8);
    let totals = (gqa.heads / gqa.kv_heads).next_multiple_of(4);
    PLACE + (queries * (width + SPLIT + 2) + totals + parts) * 4
}

/// Queries at a time of a row's block: more than four are worth it where a group has them, and there is memory.
fn row_queries(gqa: &Gqa, limit: usize) -> usize {
    if gqa.heads / gqa.kv_heads > 4 && row_shared(gqa, 8) <= limit { 8 } else { 4 }
}

/// Outputs of every query that a tile's block takes.
fn tile_values(gqa: &Gqa) -> usize {
    if gqa.head_dim <= 64 { 64 } else { 128 }
}

/// Bytes of shared memory of a tile's block with so many queries.
fn tile_shared(gqa: &Gqa, queries: usize) -> usize {
    let width = gqa.head_dim.next_multiple_of(UNIT);
    let row = width.max(tile_values(gqa)) + UNIT;
    // Of 64 queries: what each has come to, and how a split joins it.
    PLACE + 64 * 16 + queries * (SPLIT + width) * 4 + PIECE * row * 2
}

/// Queries of a tile's block: as many as there is memory for.
fn tile_queries(gqa: &Gqa, limit: usize) -> usize {
    [64, 32, 16].into_iter().find(|queries| tile_shared(gqa, *queries) <= limit).unwrap_or(OWN)
}

/// Bytes of shared memory that attention cannot do without.
pub(crate) fn least_shared(gqa: &Gqa) -> usize {
    usize::max(row_shared(gqa, 4), tile_shared(gqa, OWN))
}

impl<D: Driver> Cuda<D> {
    /// `y = softmax(q k^T * scale) v`, as [`attend`](plimsoll_backend::Backend::attend) says.
    pub(crate) fn attention(
        &self,
        model: &Weights<D>,
        layer: usize,
        batch: &Batch<D>,
        cache: &Cache<D>,
        q: &Buffer<D>,
        y: &mut Buffer<D>,
    ) -> Result<(), Error> {
        let Mixer::Gqa(gqa) = &model.decoder.layers[layer].mixer;
        let window = work::window(gqa);
        let work = batch.work(window);
        let params = |launch: usize| params::Attend {
            cache: cache.layer(layer),
            q: q.address,
            y: y.address,
            positions: batch.positions,
            tables: batch.tables,
            blocks: batch.blocks,
            work: batch.lists(),
            range: work.bounds + 4 * launch as u64,
            heads: gqa.heads as u32,
            block: cache.shape.block as u32,
            window: window as u32,
            scale: gqa.scale,
        };
        (0..work.launches).try_for_each(|launch| self.attend_rows(gqa, cache, params(launch)))?;
        if work.tiled { self.attend_tiles(gqa, batch.rows, params(work.launches)) } else { Ok(()) }
    }

    /// On a grid that any number of items makes use of.
    fn attend_rows(&self, gqa: &Gqa, cache: &Cache<D>, attend: params::Attend) -> Result<(), Error> {
        let blocks = (RESIDENT * self.device.multiprocessors()).div_ceil(gqa.kv_heads);
        let grid = [blocks, gqa.kv_heads, 1];
        let params = params::AttendRow { attend, partial: cache.partial.address, tickets: cache.tickets.address };
        match row_queries(gqa, self.device.shared_limit()) {
            4 => self.device.launch(grid, row_shared(gqa, 4), params::Attend4(params)),
            _ => self.device.launch(grid, row_shared(gqa, 8), params::Attend8(params)),
        }
    }

    fn attend_tiles(&self, gqa: &Gqa, rows: usize, attend: params::Attend) -> Result<(), Error> {
        let (queries, group) = (tile_queries(gqa, self.device.shared_limit()), gqa.heads / gqa.kv_heads);
        let heads = group.min(queries);
        // As even as they can be.
        let parts = TILE.div_ceil(queries / heads);
        let params = params::AttendTile {
            attend,
            rows: TILE.div_ceil(parts) as u32,
            heads: heads as u32,
            queries: queries as u32,
            padding: 0,
        };
        let values = tile_values(gqa);
        let parts = parts * group.div_ceil(heads) * gqa.head_dim.div_ceil(values);
        let (grid, shared) = ([rows.div_ceil(TILE), gqa.kv_heads, parts], tile_shared(gqa, queries));
        match values {
            64 => self.device.launch(grid, shared, params::AttendTile64(params)),
            _ => self.device.launch(grid, shared, params::AttendTile128(params)),
        }
    }
}
