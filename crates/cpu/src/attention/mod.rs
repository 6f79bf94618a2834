//! Attention over the paged cache.
//!
//! A row's positions are cut into chunks at absolute multiples of [`CHUNK`]. Each chunk is summed from zero and the sums are
//! merged in ascending order, by the same operations whatever the batch, the number of threads or the places of the
//! blocks: a row's result is bit-identical in all of them. Only who computes a chunk differs.

mod chunk;
mod merge;
mod scores;
#[cfg(test)]
mod tests;
mod unit;
mod values;

use std::sync::{Mutex, PoisonError};

use plimsoll_model::Gqa;

use crate::batch::Batch;
use crate::cache::{LayerCache, Layout, Store, Stored};
use crate::element::Element;
use crate::pool::Pool;
use crate::shared::{Bands, Chunks, Strips};
use crate::simd::{Isa, LANES, Lanes};
use chunk::{Chunk, Room};
use merge::Merge;
use unit::Unit;

/// Positions that are summed from zero.
const CHUNK: usize = 256;
/// Query rows that share a chunk once it is in the nearest cache.
const ROWS: usize = 64;
/// Units a thread should find before chunks are not shared out too: one alone would be long.
const UNITS_PER_THREAD: usize = 4;
/// Lines of partial sums at most: beyond, there are units enough.
const PARTIAL_LINES: usize = 1 << 17;

/// The inputs of one layer's attention.
#[derive(Clone, Copy)]
pub(crate) struct Attention<'a> {
    pub(crate) gqa: &'a Gqa,
    pub(crate) batch: &'a Batch,
    pub(crate) cache: &'a LayerCache,
    /// `[T, heads * head_dim]`
    pub(crate) q: &'a [f32],
}

/// Rows of one sequence that are computed together.
#[derive(Clone, Copy)]
struct Band {
    /// Index of the sequence in the batch.
    sequence: usize,
    /// First of its tokens in this step, and how many.
    first: usize,
    tokens: usize,
    /// Where the band's chunks begin in the list of jobs.
    job: usize,
}

/// What attention writes on the way; it grows to what the largest step needs.
#[derive(Default)]
pub(crate) struct Scratch {
    bands: Vec<Band>,
    /// First row of each band, then the end.
    bounds: Vec<usize>,
    /// Band and chunk.
    jobs: Vec<(usize, usize)>,
    partials: Vec<Lanes>,
    rooms: Rooms,
}

/// Room for one unit on each thread.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a room is large: it is lent without being moved")]
struct Rooms(Mutex<Vec<Box<Room>>>);

impl Rooms {
    fn with<T>(&self, use_room: impl FnOnce(&mut Room) -> T) -> T {
        let rooms = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = rooms().pop().unwrap_or_default();
        let result = use_room(&mut room);
        rooms().push(room);
        result
    }
}

impl Attention<'_> {
    /// `y = softmax(q k^T * scale) v`, `[T, heads * head_dim]`.
    pub(crate) fn run(&self, pool: &Pool, isa: Isa, scratch: &mut Scratch, y: &mut [f32]) {
        self.plan(scratch);
        let units = scratch.bands.len() * self.gqa.kv_heads;
        let few = pool.threads() > 1 && units < UNITS_PER_THREAD * pool.threads();
        let lines = scratch.jobs.len() * self.gqa.kv_heads * self.partial_lines(scratch);
        let share_chunks = few && scratch.jobs.len() > scratch.bands.len() && lines <= PARTIAL_LINES;
        self.compute(pool, isa, scratch, y, share_chunks);
    }

    fn compute(&self, pool: &Pool, isa: Isa, scratch: &mut Scratch, y: &mut [f32], share_chunks: bool) {
        match (&self.cache.store, share_chunks) {
            (Store::F32(stored), false) => self.by_band(stored, pool, isa, scratch, y),
            (Store::F16(stored), false) => self.by_band(stored, pool, isa, scratch, y),
            (Store::F32(stored), true) => self.by_chunk(stored, pool, isa, scratch, y),
            (Store::F16(stored), true) => self.by_chunk(stored, pool, isa, scratch, y),
            (Store::Q8(stored), false) => self.by_band(stored, pool, isa, scratch, y),
            (Store::Q8(stored), true) => self.by_chunk(stored, pool, isa, scratch, y),
        }
    }

    /// Cuts the batch into bands, and these into chunks.
    fn plan(&self, scratch: &mut Scratch) {
        let most = (ROWS / self.group()).max(1);
        scratch.bands.clear();
        scratch.bounds.clear();
        scratch.jobs.clear();
        scratch.bounds.push(0);
        for (sequence, (row, plan)) in self.batch.sequences.iter().enumerate() {
            for first in (0..plan.len).step_by(most) {
                let tokens = most.min(plan.len - first);
                let positions = plan.start + first..plan.start + first + tokens;
                let chunks = unit::chunks(self.gqa.span, positions);
                let band = scratch.bands.len();
                scratch.bands.push(Band { sequence, first, tokens, job: scratch.jobs.len() });
                scratch.bounds.push(row + first + tokens);
                scratch.jobs.extend(chunks.map(|chunk| (band, chunk)));
            }
        }
    }

    /// A unit computes all chunks of a band and a kv head.
    fn by_band<E: Element>(&self, stored: &Stored<E>, pool: &Pool, isa: Isa, scratch: &mut Scratch, y: &mut [f32]) {
        let Scratch { bands, bounds, rooms, .. } = &*scratch;
        pool.each(Bands::new(self.strips(y), bounds), |i, y| {
            let unit = self.unit(stored, bands[i % bands.len()], i / bands.len());
            rooms.with(|room| isa.run(chunk::All { unit, room, y }));
        });
    }

    /// A unit computes one chunk of a band and a kv head; others merge them.
    fn by_chunk<E: Element>(&self, stored: &Stored<E>, pool: &Pool, isa: Isa, scratch: &mut Scratch, y: &mut [f32]) {
        let (heads, size) = (self.gqa.kv_heads, self.partial_lines(scratch));
        let Scratch { bands, bounds, jobs, partials, rooms } = scratch;
        partials.resize(partials.len().max(jobs.len() * heads * size), [0.0; LANES]);
        let used = &mut partials[..jobs.len() * heads * size];
        pool.each(Chunks::new(used, size), |i, partial| {
            let (band, chunk) = jobs[i / heads];
            let unit = self.unit(stored, bands[band], i % heads);
            rooms.with(|room| isa.run(Chunk { unit, chunk, room, partial }));
        });
        let partials = &partials[..];
        pool.each(Bands::new(self.strips(y), bounds), |i, y| {
            let (band, head) = (i % bands.len(), i / bands.len());
            let end = bands.get(band + 1).map_or(jobs.len(), |next| next.job);
            let chunks = (bands[band].job..end).map(|job| &partials[(job * heads + head) * size..][..size]);
            let unit = self.unit(stored, bands[band], head);
            rooms.with(|room| isa.run(Merge { unit, partials: chunks, room, y }));
        });
    }

    fn group(&self) -> usize {
        self.gqa.heads / self.gqa.kv_heads
    }

    fn strips<'y>(&self, y: &'y mut [f32]) -> Strips<'y, f32> {
        let width = self.gqa.q_width();
        Strips::new(y, width, width, self.group() * self.gqa.head_dim)
    }

    /// Lines of the partial sums of the largest band.
    fn partial_lines(&self, scratch: &Scratch) -> usize {
        let tokens = scratch.bands.iter().map(|band| band.tokens).max().unwrap_or(0);
        tokens * self.group() * merge::lines(self.cache.layout)
    }

    fn unit<'a, E: Element>(&'a self, stored: &'a Stored<E>, band: Band, head: usize) -> Unit<'a, E> {
        let (row, sequence) = &self.batch.sequences[band.sequence];
        let layout: Layout = self.cache.layout;
        let (lines, scales) = stored.head(layout, head);
        let width = self.gqa.q_width();
        let q = &self.q[(row + band.first) * width..][..band.tokens * width];
        let first = sequence.start + band.first;
        let positions = first..first + band.tokens;
        Unit { gqa: self.gqa, layout, sequence, positions, head, q, lines, scales }
    }
}
