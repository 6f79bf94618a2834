//! Buffers cut from an arena, launches with what a kernel takes, and graphs that keep what they use.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use bytemuck::Pod;
use plimsoll_backend::{Error, Memory};

use crate::driver::{Driver, Gemm, Launch};
use crate::params::{GRID, Params, THREADS};

/// What a buffer begins at a multiple of, in bytes.
const ALIGNMENT: usize = 256;

/// A driver and what the backend does with it.
pub(crate) struct Device<D: Driver> {
    driver: D,
    arena: RefCell<Arena<D>>,
}

/// Memory in pieces, each given back when none of its buffers is left.
struct Arena<D: Driver> {
    /// All there are, for graphs to keep.
    pieces: Vec<Weak<D::Memory>>,
    /// The piece that is cut from, how much of it is in use and how many bytes it has.
    last: Option<(Weak<D::Memory>, usize, usize)>,
}

/// Memory of a device.
pub struct Buffer<D: Driver> {
    piece: Arc<D::Memory>,
    offset: usize,
    pub(crate) address: u64,
    pub(crate) bytes: usize,
    /// Whether it has rows in eight bits.
    pub(crate) rounded: bool,
}

/// Launches to start again, with all memory they may use.
pub(crate) struct Graph<D: Driver> {
    launches: D::Graph,
    _memory: Vec<Arc<D::Memory>>,
}

/// Whether a buffer has a piece of its own, so that no others leave more than an eighth unused.
fn alone(driver: &impl Driver, bytes: usize) -> bool {
    bytes > driver.piece() / 8
}

impl<D: Driver> Arena<D> {
    /// A place of so many bytes: its piece and where in it.
    fn place(&mut self, driver: &D, bytes: usize) -> Result<(Arc<D::Memory>, usize), Error> {
        let bytes = bytes.max(1).next_multiple_of(ALIGNMENT);
        if let Some((piece, used, size)) = &mut self.last
            && let Some(piece) = piece.upgrade()
            && bytes <= *size - *used
        {
            *used += bytes;
            return Ok((piece, *used - bytes));
        }
        let size = if alone(driver, bytes) { bytes } else { driver.piece() };
        let piece = Arc::new(driver.allocate(size)?);
        self.pieces.retain(|piece| piece.strong_count() > 0);
        self.pieces.push(Arc::downgrade(&piece));
        // A buffer with a piece of its own leaves the last one to others.
        if bytes < size {
            self.last = Some((Arc::downgrade(&piece), bytes, size));
        }
        Ok((piece, 0))
    }
}

impl<D: Driver> Device<D> {
    pub(crate) fn new(driver: D) -> Self {
        Self { driver, arena: RefCell::new(Arena { pieces: vec![], last: None }) }
    }

    pub(crate) fn shared_limit(&self) -> usize {
        self.driver.shared_limit()
    }

    pub(crate) fn memory(&self) -> Result<Memory, Error> {
        self.driver.memory()
    }

    /// Bytes that a buffer takes of the device's memory, with its share of what pieces leave unused.
    pub(crate) fn footprint(&self, bytes: usize) -> u64 {
        let bytes = bytes.max(1).next_multiple_of(ALIGNMENT);
        match alone(&self.driver, bytes) {
            true => bytes.next_multiple_of((self.driver.piece() / 16).max(1)) as u64,
            false => bytes as u64 * 8 / 7,
        }
    }

    pub(crate) fn multiprocessors(&self) -> usize {
        self.driver.multiprocessors()
    }

    /// Memory with anything in it.
    pub(crate) fn buffer(&self, bytes: usize) -> Result<Buffer<D>, Error> {
        let (piece, offset) = self.arena.borrow_mut().place(&self.driver, bytes)?;
        Ok(Buffer { address: self.driver.address(&piece) + offset as u64, piece, offset, bytes, rounded: false })
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
        self.driver.write(&buffer.piece, buffer.offset, bytemuck::cast_slice(values))
    }

    /// Values behind the first ones.
    pub(crate) fn read<T: Pod>(&self, buffer: &Buffer<D>, first: usize, values: &mut [T]) -> Result<(), Error> {
        let offset = first * size_of::<T>();
        assert!(offset + size_of_val(values) <= buffer.bytes, "more than the buffer has");
        self.driver.read(&buffer.piece, buffer.offset + offset, bytemuck::cast_slice_mut(values))
    }

    /// Starts a kernel on a grid of blocks with so many bytes of shared memory.
    pub(crate) fn launch<P: Params>(&self, grid: [usize; 3], shared: usize, params: P) -> Result<(), Error> {
        let kernel = P::KERNEL;
        assert!(grid[1].max(grid[2]) <= GRID, "a grid of {grid:?} blocks, which no GPU has");
        let grid = grid.map(|blocks| u32::try_from(blocks).expect("a grid of 32 bits"));
        let shared = u32::try_from(shared).expect("shared memory is small");
        let launch = Launch { kernel, grid, threads: THREADS, shared, params: bytemuck::bytes_of(&params) };
        // SAFETY: the type of the parameters names the kernel. Addresses in them are those of buffers that the backend made for
        // the shapes it passes along, and `backend::Model` has checked that a plan fits them. Drivers run what they are given in
        // order, and give memory back behind it.
        unsafe { self.driver.launch(&launch) }
    }

    pub(crate) fn load_gemm(&mut self) -> Result<(), Error> {
        self.driver.load_gemm()
    }

    pub(crate) fn gemm(&self, gemm: &Gemm) -> Result<(), Error> {
        // SAFETY: as for launches.
        unsafe { self.driver.gemm(gemm) }
    }

    /// Keeps what `record` launches.
    pub(crate) fn capture(&self, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<Graph<D>, Error> {
        let launches = self.driver.capture(record)?;
        let memory = self.arena.borrow().pieces.iter().filter_map(Weak::upgrade).collect();
        Ok(Graph { launches, _memory: memory })
    }

    pub(crate) fn replay(&self, graph: &Graph<D>) -> Result<(), Error> {
        // SAFETY: the graph keeps all memory there was when it was made.
        unsafe { self.driver.replay(&graph.launches) }
    }
}
