//! A device that runs the CUDA kernels on the CPU, from the same sources, and checks every access to memory.
//!
//! Blocks and threads take turns in an order that can be chosen: results must not depend on it. Written for x86-64 Linux, whose
//! registers fibers save; empty elsewhere.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::ffi::{CStr, CString, c_char};
use std::sync::Mutex;

use plimsoll_backend::Error;
use plimsoll_cuda::{Driver, Launch};

unsafe extern "C" {
    fn shim_allocated(at: usize, bytes: usize);
    fn shim_freed(at: usize);
    fn shim_launch(
        name: *const c_char,
        grid: *const [u32; 3],
        threads: u32,
        shared: usize,
        params: *const u8,
        params_bytes: usize,
        seed: u32,
    ) -> *const c_char;
}

/// The runtime has one machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// In which order blocks run, and the threads of a block take their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they are numbered.
    Forward,
    /// The other way round.
    Backward,
    /// Shuffled by a seed.
    Shuffled(u32),
}

/// The simulated device.
#[derive(Clone, Copy, Debug)]
pub struct Shim {
    order: Order,
    shared_limit: usize,
}

/// Memory that kernels may use, in words so that every type lies well.
#[derive(Debug)]
pub struct Memory(Vec<u128>);

impl Shim {
    /// Shared memory of a block on the smallest GPU that is supported.
    pub const SHARED: usize = 64 << 10;

    /// A device with an order, and as much shared memory as the smallest GPU.
    pub fn new(order: Order) -> Self {
        Self { order, shared_limit: Self::SHARED }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _machine = MACHINE.lock();
        // SAFETY: takes an address out of a list.
        unsafe { shim_freed(self.0.as_ptr() as usize) };
    }
}

impl Driver for Shim {
    type Memory = Memory;

    fn allocate(&self, bytes: usize) -> Result<Memory, Error> {
        // Not a number in any type.
        let memory = Memory(vec![u128::MAX; bytes.div_ceil(16)]);
        let _machine = MACHINE.lock();
        // SAFETY: enters an address in a list.
        unsafe { shim_allocated(memory.0.as_ptr() as usize, bytes) };
        Ok(memory)
    }

    fn address(&self, memory: &Memory) -> u64 {
        memory.0.as_ptr() as u64
    }

    fn write(&self, memory: &mut Memory, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        bytes_of(memory)[offset..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, memory: &Memory, bytes: &mut [u8]) -> Result<(), Error> {
        assert!(bytes.len() <= memory.0.len() * 16);
        // SAFETY: the memory is as long; kernels that wrote it are over.
        bytes.copy_from_slice(unsafe { std::slice::from_raw_parts(memory.0.as_ptr().cast(), bytes.len()) });
        Ok(())
    }

    fn shared_limit(&self) -> usize {
        self.shared_limit
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Error> {
        let Launch { kernel, grid, threads, shared, params } = *launch;
        let name = CString::new(kernel).expect("kernels have plain names");
        let seed = match self.order {
            Order::Forward => 0,
            Order::Backward => 1,
            Order::Shuffled(seed) => seed.max(2),
        };
        let _machine = MACHINE.lock();
        // SAFETY: the runtime checks the name, the size of the parameters, and every access of the kernel.
        let error =
            unsafe { shim_launch(name.as_ptr(), &grid, threads, shared as usize, params.as_ptr(), params.len(), seed) };
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: a string that lives until the next launch.
        let reason = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
        Err(Error::Device { backend: "CUDA", reason })
    }
}

fn bytes_of(memory: &mut Memory) -> &mut [u8] {
    let bytes = memory.0.len() * 16;
    // SAFETY: numbers are bytes, and this borrows all of them.
    unsafe { std::slice::from_raw_parts_mut(memory.0.as_mut_ptr().cast(), bytes) }
}
