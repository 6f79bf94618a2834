//! What the backend asks of a device: memory, copies and launches. A GPU's driver does it, and in tests a simulation.

use plimsoll_backend::Error;

/// A device.
pub trait Driver: Send + 'static {
    /// Memory of the device, given back when dropped.
    type Memory: Send;

    /// Memory of so many bytes, with anything in it.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory, Error>;

    /// Where memory begins.
    fn address(&self, memory: &Self::Memory) -> u64;

    /// Copies bytes to memory behind an offset; they can be used again at once.
    ///
    /// # Errors
    /// [`Error::Device`]
    fn write(&self, memory: &mut Self::Memory, offset: usize, bytes: &[u8]) -> Result<(), Error>;

    /// Copies the first bytes of memory, after all that was launched before.
    ///
    /// # Errors
    /// [`Error::Device`]
    fn read(&self, memory: &Self::Memory, bytes: &mut [u8]) -> Result<(), Error>;

    /// Shared memory a block can have, in bytes.
    fn shared_limit(&self) -> usize;

    /// Starts a kernel behind all that was started before.
    ///
    /// # Safety
    /// The parameters are those of the kernel, and every address in them belongs to memory as large as the kernel takes it for,
    /// which is kept until the launch is over.
    ///
    /// # Errors
    /// [`Error::Device`]
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Error>;
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
