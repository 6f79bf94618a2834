//! How long the host waits for a device.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plimsoll_backend::{Error, Memory};
use plimsoll_cuda::{Driver, Gemm, Launch};

/// Nanoseconds spent in reading from a device, which waits for all that was launched.
#[derive(Clone, Default)]
pub(crate) struct Waited(Arc<AtomicU64>);

impl Waited {
    /// Since it was asked last.
    pub(crate) fn take(&self) -> Duration {
        Duration::from_nanos(self.0.swap(0, Ordering::Relaxed))
    }
}

/// A device whose reads are timed.
pub(crate) struct Timed<D> {
    pub(crate) driver: D,
    pub(crate) waited: Waited,
}

impl<D: Driver> Driver for Timed<D> {
    type Memory = D::Memory;
    type Graph = D::Graph;

    fn piece(&self) -> usize {
        self.driver.piece()
    }

    fn memory(&self) -> Result<Memory, Error> {
        self.driver.memory()
    }

    fn allocate(&self, bytes: usize) -> Result<D::Memory, Error> {
        self.driver.allocate(bytes)
    }

    fn address(&self, memory: &D::Memory) -> u64 {
        self.driver.address(memory)
    }

    fn write(&self, memory: &D::Memory, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.driver.write(memory, offset, bytes)
    }

    fn read(&self, memory: &D::Memory, offset: usize, bytes: &mut [u8]) -> Result<(), Error> {
        let start = Instant::now();
        let read = self.driver.read(memory, offset, bytes);
        self.waited.0.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        read
    }

    fn shared_limit(&self) -> usize {
        self.driver.shared_limit()
    }

    fn multiprocessors(&self) -> usize {
        self.driver.multiprocessors()
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.driver.launch(launch) }
    }

    fn load_gemm(&mut self) -> Result<(), Error> {
        self.driver.load_gemm()
    }

    unsafe fn gemm(&self, gemm: &Gemm) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.driver.gemm(gemm) }
    }

    fn capture(&self, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<D::Graph, Error> {
        self.driver.capture(record)
    }

    unsafe fn replay(&self, graph: &D::Graph) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.driver.replay(graph) }
    }
}
