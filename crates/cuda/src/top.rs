//! The largest logits of every output, found on the device so that rows need not be read.

use bytemuck::{Pod, Zeroable};
use plimsoll_backend::{Error, Top};

use crate::batch::Batch;
use crate::device::{Buffer, Device};
use crate::driver::Driver;
use crate::params;

/// Logits that are found, and logits of a part of a row, which a block searches.
const TOP: usize = 64;
const PART: usize = 4096;
/// Shared memory of a block, in bytes: the largest key of every thread, all 16 of as many threads as logits are found, those that
/// are found, and some words. It is `Room` in `kernels/top.cu`.
const SHARED: usize = (params::THREADS as usize + 16 * TOP + TOP + 10) * 8 + TOP * 4;

/// What a kernel finds in a row, or in a part of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Row {
    /// Logits in an order of unsigned integers, above ids that count down.
    keys: [u64; TOP],
    sum: f64,
    weight: f64,
    /// An id above its logit; all bits if there is none.
    not_finite: u64,
    highest: f32,
    padding: u32,
}

/// Room for what is found.
pub(crate) struct Found<D: Driver> {
    vocab: usize,
    /// Of the parts of rows, and how many of a row are done.
    parts: Buffer<D>,
    tickets: Buffer<D>,
    rows: Buffer<D>,
}

/// Bytes of what is found in the parts of so many rows, of counters, and of what is found in the rows.
pub(crate) fn bytes(vocab: usize, outputs: usize) -> [usize; 3] {
    [outputs * vocab.div_ceil(PART) * size_of::<Row>(), outputs * 4, outputs * size_of::<Row>()]
}

impl<D: Driver> Found<D> {
    /// Room for so many outputs.
    pub(crate) fn new(device: &Device<D>, vocab: usize, outputs: usize) -> Result<Self, Error> {
        let [parts, tickets, rows] = bytes(vocab, outputs);
        Ok(Self { vocab, parts: device.zeros(parts)?, tickets: device.zeros(tickets)?, rows: device.zeros(rows)? })
    }

    /// Searches the logits of a batch.
    pub(crate) fn find(&self, device: &Device<D>, batch: &Batch<D>, logits: &Buffer<D>) -> Result<(), Error> {
        if batch.output_rows == 0 {
            return Ok(());
        }
        let params = params::Top {
            logits: logits.address,
            draws: batch.draws,
            parts: self.parts.address,
            tickets: self.tickets.address,
            found: self.rows.address,
            vocab: self.vocab as u32,
            padding: 0,
        };
        device.launch([self.vocab.div_ceil(PART), batch.output_rows, 1], SHARED, params)
    }

    /// What was found in so many rows.
    pub(crate) fn read(&self, device: &Device<D>, outputs: usize) -> Result<Vec<Top>, Error> {
        let mut rows = vec![Row::zeroed(); outputs];
        device.read(&self.rows, 0, &mut rows)?;
        Ok(rows.iter().map(|row| row.top(self.vocab)).collect())
    }
}

impl Row {
    fn top(&self, vocab: usize) -> Top {
        let tokens = self.keys.iter().take(vocab).map(|key| (!(*key as u32), logit((key >> 32) as u32)));
        let not_finite = (self.not_finite != u64::MAX)
            .then(|| ((self.not_finite >> 32) as u32, f32::from_bits(self.not_finite as u32)));
        let others = vocab.saturating_sub(TOP);
        Top { tokens: tokens.collect(), others, sum: self.sum, weight: self.weight, not_finite }
    }
}

/// A logit by its place in the order.
fn logit(place: u32) -> f32 {
    f32::from_bits(if place >> 31 == 1 { place ^ (1 << 31) } else { !place })
}
