//! Rows in eight bits, which a product leaves for the next one in a buffer for f32: codes from its beginning, and from its middle
//! the heads of groups of 32, `kernels/activations.cuh` says what they are.

use std::ops::Range;

use plimsoll_backend::Error;

use crate::device::{Buffer, Device};
use crate::driver::Driver;
use crate::pack::GROUP;

impl<D: Driver> Buffer<D> {
    /// Where the heads are, or 0 if the rows are f32.
    pub(crate) fn heads(&self) -> u64 {
        if self.rounded { self.address + self.bytes as u64 / 2 } else { 0 }
    }
}

impl<D: Driver> Device<D> {
    /// Values of rows of whole groups.
    pub(crate) fn read_rounded(&self, buffer: &Buffer<D>, range: Range<usize>) -> Result<Vec<f32>, Error> {
        let (mut codes, mut heads) = (vec![0_i8; range.len()], vec![[0.0_f32; 2]; range.len() / GROUP]);
        self.read(buffer, range.start, &mut codes)?;
        self.read(buffer, (buffer.bytes / 2 + range.start / GROUP * 8) / 8, &mut heads)?;
        Ok(codes.iter().enumerate().map(|(i, code)| f32::from(*code) * heads[i / GROUP][0]).collect())
    }
}
