//! Buffers on a device, and launches with what a kernel takes.

use bytemuck::Pod;
use plimsoll_backend::Error;

use crate::driver::{Driver, Launch};
use crate::params::{Params, THREADS};

/// A driver and what the backend does with it.
pub(crate) struct Device<D: Driver> {
    driver: D,
}

/// Memory of a device.
pub struct Buffer<D: Driver> {
    memory: D::Memory,
    pub(crate) address: u64,
    pub(crate) bytes: usize,
}

impl<D: Driver> Device<D> {
    pub(crate) fn new(driver: D) -> Self {
        Self { driver }
    }

    pub(crate) fn shared_limit(&self) -> usize {
        self.driver.shared_limit()
    }

    /// Memory with anything in it.
    pub(crate) fn buffer(&self, bytes: usize) -> Result<Buffer<D>, Error> {
        let memory = self.driver.allocate(bytes.max(1))?;
        Ok(Buffer { address: self.driver.address(&memory), memory, bytes })
    }

    /// Memory with values in it.
    pub(crate) fn filled<T: Pod>(&self, values: &[T]) -> Result<Buffer<D>, Error> {
        let mut buffer = self.buffer(size_of_val(values))?;
        self.write(&mut buffer, values)?;
        Ok(buffer)
    }

    pub(crate) fn zeros(&self, bytes: usize) -> Result<Buffer<D>, Error> {
        self.filled(&vec![0_u8; bytes])
    }

    /// Sets the first values.
    pub(crate) fn write<T: Pod>(&self, buffer: &mut Buffer<D>, values: &[T]) -> Result<(), Error> {
        assert!(size_of_val(values) <= buffer.bytes, "more than the buffer takes");
        self.driver.write(&mut buffer.memory, 0, bytemuck::cast_slice(values))
    }

    pub(crate) fn read(&self, buffer: &Buffer<D>, values: &mut [f32]) -> Result<(), Error> {
        assert!(size_of_val(values) <= buffer.bytes, "more than the buffer has");
        self.driver.read(&buffer.memory, bytemuck::cast_slice_mut(values))
    }

    /// Starts a kernel on a grid of blocks with so many bytes of shared memory.
    pub(crate) fn launch<P: Params>(&self, grid: [usize; 3], shared: usize, params: P) -> Result<(), Error> {
        let kernel = P::KERNEL;
        let grid = grid.map(|blocks| u32::try_from(blocks).expect("a grid of 32 bits"));
        let shared = u32::try_from(shared).expect("shared memory is small");
        let launch = Launch { kernel, grid, threads: THREADS, shared, params: bytemuck::bytes_of(&params) };
        // SAFETY: the type of the parameters names the kernel. Addresses in them are those of buffers that the backend made for
        // the shapes it passes along, and `backend::Model` has checked that a plan fits them. Drivers run what they are given in
        // order, and give memory back behind it.
        unsafe { self.driver.launch(&launch) }
    }
}
