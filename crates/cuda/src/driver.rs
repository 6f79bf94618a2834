//! What the backend asks of a device: memory, copies, launches and graphs of them. A GPU's driver does it, and in tests a simulation.

use bytemuck::{Pod, Zeroable};
use plimsoll_backend::{Error, Memory};

/// A device.
pub trait Driver: Send + 'static {
    /// Memory of the device, given back when dropped.
    type Memory: Send + Sync;
    /// Launches that can be started again all at once.
    type Graph: Send;

    /// Bytes to ask for at a time, for many buffers to be cut from; more are asked for where one is larger.
    fn piece(&self) -> usize;

    /// The memory there is and what of it is free, less what the driver takes on the way.
    ///
    /// # Errors
    /// [`Error::Device`]
    fn memory(&self) -> Result<Memory, Error>;

    /// Memory of so many bytes, with anything in it.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory, Error>;

    /// Where memory begins.
    fn address(&self, memory: &Self::Memory) -> u64;

    /// Copies bytes to memory behind an offset, after all that was launched before; they can be used again at once.
    ///
    /// # Errors
    /// [`Error::Device`]
    fn write(&self, memory: &Self::Memory, offset: usize, bytes: &[u8]) -> Result<(), Error>;

    /// Copies bytes of memory behind an offset, after all that was launched before.
    ///
    /// # Errors
    /// [`Error::Device`]
    fn read(&self, memory: &Self::Memory, offset: usize, bytes: &mut [u8]) -> Result<(), Error>;

    /// Shared memory a block can have, in bytes.
    fn shared_limit(&self) -> usize;

    /// How many multiprocessors there are to keep busy.
    fn multiprocessors(&self) -> usize;

    /// Starts a kernel behind all that was started before.
    ///
    /// # Safety
    /// The parameters are those of the kernel, and every address in them belongs to memory as large as the kernel takes it for,
    /// which is kept until the launch is over.
    ///
    /// # Errors
    /// [`Error::Device`]
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Error>;

    /// Makes [`gemm`](Self::gemm) ready.
    ///
    /// # Errors
    /// [`Error::Device`] if there is no library that does it.
    fn load_gemm(&mut self) -> Result<(), Error>;

    /// Starts a product of matrices, done by a library in whatever order it likes, behind all that was started before.
    ///
    /// # Safety
    /// Every address belongs to memory as large as it says, which is kept until the product is done.
    ///
    /// # Errors
    /// [`Error::Device`]
    unsafe fn gemm(&self, gemm: &Gemm) -> Result<(), Error>;

    /// What `record` launches, kept instead of started. It may launch, and nothing else.
    ///
    /// # Errors
    /// Those of `record`; [`Error::Device`].
    fn capture(&self, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<Self::Graph, Error>;

    /// Starts the launches of a graph, in their order, behind all that was started before.
    ///
    /// # Safety
    /// As for each of them: above all, memory that they were given is there still.
    ///
    /// # Errors
    /// [`Error::Device`]
    unsafe fn replay(&self, graph: &Self::Graph) -> Result<(), Error>;
}

/// A product `out = x w^T`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Gemm {
    /// Weights, bf16 `[rows, stride]`.
    pub w: u64,
    /// Activations, bf16 `[columns, stride]`.
    pub x: u64,
    /// f32 `[columns, out_stride]`.
    pub out: u64,
    /// Rows of weights.
    pub rows: u32,
    /// Rows of activations.
    pub columns: u32,
    /// Values of a row that count.
    pub width: u32,
    /// Values from one row to the next.
    pub stride: u32,
    /// The same for `out`.
    pub out_stride: u32,
    /// Nothing.
    pub padding: u32,
}

/// A kernel on a grid of blocks.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Shared memory of a block, in bytes.
    pub shared: u32,
    /// The struct that the kernel takes.
    pub params: &'a [u8],
}
