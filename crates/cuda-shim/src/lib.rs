//! A device that runs the CUDA kernels on the CPU, from the same sources, and checks every access to memory.
//!
//! Blocks and threads take turns in an order that can be chosen: results must not depend on it. Written for x86-64 Linux, whose
//! registers fibers save; empty elsewhere.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plimsoll_backend::Error;
use plimsoll_cuda::{Driver, Gemm, Launch};

unsafe extern "C" {
    fn shim_params(name: *const c_char) -> usize;
    fn shim_allocated(at: usize, bytes: usize);
    fn shim_freed(at: usize);
    fn shim_written(at: usize, bytes: usize);
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
#[derive(Clone, Debug)]
pub struct Shim {
    order: Order,
    /// Bytes there are.
    memory: usize,
    /// Shared memory of a block, in bytes.
    shared: usize,
    multiprocessors: usize,
    usage: Arc<Usage>,
    recorded: Arc<Mutex<Option<Vec<Recorded>>>>,
}

/// What a device was asked for.
#[derive(Debug, Default)]
pub struct Usage {
    bytes: AtomicUsize,
    allocations: AtomicUsize,
    launches: AtomicUsize,
    replays: AtomicUsize,
}

/// Memory that kernels may use, in words so that every type lies well.
#[derive(Debug)]
pub struct Memory {
    words: Box<[UnsafeCell<u128>]>,
    usage: Arc<Usage>,
}

// SAFETY: only the machine reads and writes it, which does one thing at a time.
unsafe impl Sync for Memory {}

/// A launch that is started later.
#[derive(Clone, Debug)]
struct Recorded {
    kernel: &'static str,
    grid: [u32; 3],
    threads: u32,
    shared: u32,
    params: Vec<u8>,
}

/// Launches to start one after the other.
#[derive(Debug)]
pub struct Graph(Vec<Recorded>);

impl Usage {
    /// Of all memory that has not been given back.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How often memory was asked for.
    pub fn allocations(&self) -> usize {
        self.allocations.load(Ordering::Relaxed)
    }

    /// Kernels that were started, those of graphs among them.
    pub fn launches(&self) -> usize {
        self.launches.load(Ordering::Relaxed)
    }

    /// Graphs that were started.
    pub fn replays(&self) -> usize {
        self.replays.load(Ordering::Relaxed)
    }
}

impl Shim {
    /// Shared memory of a block on the smallest GPU that is supported.
    pub const SHARED: usize = 64 << 10;

    /// A device with an order, and as much shared memory as the smallest GPU.
    pub fn new(order: Order) -> Self {
        let (usage, recorded) = (Arc::default(), Arc::default());
        Self { order, memory: usize::MAX, shared: Self::SHARED, multiprocessors: 1, usage, recorded }
    }

    /// The same device with so many multiprocessors.
    pub fn with_multiprocessors(self, multiprocessors: usize) -> Self {
        Self { multiprocessors, ..self }
    }

    /// The same device with so much shared memory of a block, in bytes.
    pub fn with_shared(self, shared: usize) -> Self {
        Self { shared, ..self }
    }

    /// The same device with so many bytes of memory.
    pub fn with_memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    /// Bytes of the struct that a kernel takes, if there is one of that name.
    pub fn params(kernel: &CStr) -> Option<usize> {
        let _machine = lock(&MACHINE);
        // SAFETY: looks for the name in a list.
        let bytes = unsafe { shim_params(kernel.as_ptr()) };
        (bytes > 0).then_some(bytes)
    }

    /// What it has been asked for.
    pub fn usage(&self) -> Arc<Usage> {
        self.usage.clone()
    }

    /// Refuses what a GPU could not do while it captures.
    fn not_recording(&self, what: &str) -> Result<(), Error> {
        match *lock(&self.recorded) {
            Some(_) => Err(device_error(format!("{what} while launches are captured"))),
            None => Ok(()),
        }
    }

    fn start(&self, launch: &Launch<'_>) -> Result<(), Error> {
        let Launch { kernel, grid, threads, shared, params } = *launch;
        let name = CString::new(kernel).expect("kernels have plain names");
        let seed = match self.order {
            Order::Forward => 0,
            Order::Backward => 1,
            Order::Shuffled(seed) => seed.max(2),
        };
        self.usage.launches.fetch_add(1, Ordering::Relaxed);
        let _machine = lock(&MACHINE);
        // SAFETY: the runtime checks the name, the size of the parameters, and every access of the kernel.
        let error =
            unsafe { shim_launch(name.as_ptr(), &grid, threads, shared as usize, params.as_ptr(), params.len(), seed) };
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: a string that lives until the next launch.
        Err(device_error(unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn device_error(reason: String) -> Error {
    Error::Device { backend: "CUDA", reason }
}

impl Memory {
    fn address(&self) -> usize {
        self.words.as_ptr() as usize
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.usage.bytes.fetch_sub(self.words.len() * 16, Ordering::Relaxed);
        let _machine = lock(&MACHINE);
        // SAFETY: takes an address out of a list.
        unsafe { shim_freed(self.address()) };
    }
}

impl Driver for Shim {
    type Memory = Memory;
    type Graph = Graph;

    /// Every buffer has memory of its own, so that accesses beyond it are seen.
    fn piece(&self) -> usize {
        0
    }

    fn memory(&self) -> Result<plimsoll_backend::Memory, Error> {
        let free = self.memory - self.usage.bytes();
        Ok(plimsoll_backend::Memory { free: free as u64, total: self.memory as u64 })
    }

    fn allocate(&self, bytes: usize) -> Result<Memory, Error> {
        self.not_recording("memory is asked for")?;
        let free = self.memory - self.usage.bytes();
        if bytes > free {
            return Err(device_error(format!("memory of {bytes} bytes, where {free} are free")));
        }
        // Not a number in any type.
        let words: Box<[_]> = (0..bytes.div_ceil(16)).map(|_| UnsafeCell::new(u128::MAX)).collect();
        self.usage.allocations.fetch_add(1, Ordering::Relaxed);
        self.usage.bytes.fetch_add(words.len() * 16, Ordering::Relaxed);
        let memory = Memory { words, usage: self.usage.clone() };
        let _machine = lock(&MACHINE);
        // SAFETY: enters an address in a list.
        unsafe { shim_allocated(memory.address(), bytes) };
        Ok(memory)
    }

    fn address(&self, memory: &Memory) -> u64 {
        memory.address() as u64
    }

    fn write(&self, memory: &Memory, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.not_recording("memory is written")?;
        assert!(offset + bytes.len() <= memory.words.len() * 16, "more than the memory takes");
        let _machine = lock(&MACHINE);
        // SAFETY: the memory is as long, and nothing else touches it while the machine is ours.
        unsafe {
            let to = memory.words.as_ptr().cast::<u8>().cast_mut().add(offset);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            shim_written(to as usize, bytes.len());
        }
        Ok(())
    }

    fn read(&self, memory: &Memory, offset: usize, bytes: &mut [u8]) -> Result<(), Error> {
        self.not_recording("memory is read")?;
        assert!(offset + bytes.len() <= memory.words.len() * 16, "more than the memory has");
        let _machine = lock(&MACHINE);
        // SAFETY: the memory is as long, and nothing else touches it while the machine is ours.
        unsafe {
            let from = memory.words.as_ptr().cast::<u8>().add(offset);
            bytes.as_mut_ptr().copy_from_nonoverlapping(from, bytes.len());
        }
        Ok(())
    }

    fn shared_limit(&self) -> usize {
        self.shared
    }

    fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Error> {
        if let Some(recorded) = &mut *lock(&self.recorded) {
            let Launch { kernel, grid, threads, shared, params } = *launch;
            recorded.push(Recorded { kernel, grid, threads, shared, params: params.to_vec() });
            return Ok(());
        }
        self.start(launch)
    }

    fn load_gemm(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// By a kernel of the simulation, so that its accesses are seen.
    unsafe fn gemm(&self, gemm: &Gemm) -> Result<(), Error> {
        self.not_recording("a library is called")?;
        let params = bytemuck::bytes_of(gemm);
        self.start(&Launch { kernel: "library_gemm", grid: [gemm.columns, 1, 1], threads: 32, shared: 0, params })
    }

    fn capture(&self, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<Graph, Error> {
        self.not_recording("a capture begins")?;
        *lock(&self.recorded) = Some(vec![]);
        let result = record();
        let launches = lock(&self.recorded).take().unwrap_or_default();
        result.map(|()| Graph(launches))
    }

    unsafe fn replay(&self, graph: &Graph) -> Result<(), Error> {
        self.not_recording("a graph is started")?;
        self.usage.replays.fetch_add(1, Ordering::Relaxed);
        graph.0.iter().try_for_each(|Recorded { kernel, grid, threads, shared, params }| {
            self.start(&Launch { kernel, grid: *grid, threads: *threads, shared: *shared, params })
        })
    }
}
