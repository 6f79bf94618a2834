//! What the driver has given out.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::{CUdeviceptr, CUresult};
use plimsoll_cuda::{Driver, Launch};
use plimsoll_cuda_shim::{Memory, Order, Shim};

use crate::{MULTIPROCESSORS, SHARED_MOST};

pub(crate) type Answer<T = ()> = Result<T, CUresult>;

/// Bytes of memory.
pub(crate) const MEMORY: usize = 1 << 30;

/// A kernel.
pub(crate) struct Function {
    pub(crate) kernel: &'static str,
    /// Bytes of its struct, and of shared memory that a block may have.
    pub(crate) params: usize,
    pub(crate) shared: usize,
}

/// A launch.
#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) kernel: &'static str,
    pub(crate) grid: [u32; 3],
    pub(crate) threads: u32,
    pub(crate) shared: u32,
    pub(crate) params: Vec<u8>,
}

pub(crate) struct State {
    shim: Shim,
    /// By address, with its bytes.
    memory: BTreeMap<CUdeviceptr, (usize, Memory)>,
    functions: Vec<Function>,
    /// Launches that were made since a capture began.
    pub(crate) captured: Option<Vec<Pending>>,
    /// Graphs, and those made ready to start, until they are dropped.
    graphs: Vec<Option<Vec<Pending>>>,
}

pub(crate) fn lock() -> MutexGuard<'static, State> {
    static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| {
        let shim = Shim::new(Order::Forward).with_multiprocessors(MULTIPROCESSORS).with_shared(SHARED_MOST);
        let shim = shim.with_memory(MEMORY);
        let (memory, functions, graphs) = Default::default();
        Mutex::new(State { shim, memory, functions, captured: None, graphs })
    });
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(crate) fn free(&self) -> usize {
        MEMORY - self.shim.usage().bytes()
    }

    pub(crate) fn allocate(&mut self, bytes: usize) -> Answer<CUdeviceptr> {
        let memory = self.shim.allocate(bytes).map_err(|_| CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        let address = self.shim.address(&memory);
        self.memory.insert(address, (bytes, memory));
        Ok(address)
    }

    pub(crate) fn free_at(&mut self, address: CUdeviceptr) -> Answer {
        self.memory.remove(&address).map(drop).ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)
    }

    /// The memory that has so many bytes from an address on, and how far behind its beginning.
    fn find(&self, address: CUdeviceptr, len: usize) -> Answer<(&Memory, usize)> {
        let found = self.memory.range(..=address).next_back();
        let (begin, (bytes, memory)) = found.ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
        let offset = (address - begin) as usize;
        if offset + len > *bytes {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        Ok((memory, offset))
    }

    pub(crate) fn write(&self, to: CUdeviceptr, bytes: &[u8]) -> Answer {
        let (memory, offset) = self.find(to, bytes.len())?;
        self.shim.write(memory, offset, bytes).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)
    }

    pub(crate) fn read(&self, from: CUdeviceptr, bytes: &mut [u8]) -> Answer {
        let (memory, offset) = self.find(from, bytes.len())?;
        self.shim.read(memory, offset, bytes).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)
    }

    /// The number of a function.
    pub(crate) fn function(&mut self, kernel: &CStr, shared: usize) -> Answer<usize> {
        let params = Shim::params(kernel).ok_or(CUresult::CUDA_ERROR_NOT_FOUND)?;
        let kernel = kernel.to_string_lossy().into_owned().leak();
        self.functions.push(Function { kernel, params, shared });
        Ok(self.functions.len() - 1)
    }

    pub(crate) fn of(&mut self, function: usize) -> Answer<&mut Function> {
        self.functions.get_mut(function).ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
    }

    /// Starts a launch; what a kernel does wrong is said here, as the driver has only numbers for it.
    pub(crate) fn start(&self, launch: &Pending) -> Answer {
        let Pending { kernel, grid, threads, shared, ref params } = *launch;
        // SAFETY: the device checks what a kernel does.
        unsafe { self.shim.launch(&Launch { kernel, grid, threads, shared, params }) }.map_err(|error| {
            eprintln!("simulated driver: {error}");
            CUresult::CUDA_ERROR_LAUNCH_FAILED
        })
    }

    /// The number of a graph of launches.
    pub(crate) fn keep(&mut self, launches: Vec<Pending>) -> usize {
        self.graphs.push(Some(launches));
        self.graphs.len() - 1
    }

    pub(crate) fn graph(&self, graph: usize) -> Answer<&[Pending]> {
        self.graphs.get(graph).and_then(Option::as_deref).ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
    }

    pub(crate) fn drop_graph(&mut self, graph: usize) -> Answer {
        let kept = self.graphs.get_mut(graph).and_then(Option::take);
        kept.map(drop).ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
    }
}
