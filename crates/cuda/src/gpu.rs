//! A GPU, through NVIDIA's driver, which is looked for when one is asked for: nothing is linked.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use bytemuck::Zeroable;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{
    self, CUdevice_attribute, CUfunction_attribute, CUgraphInstantiate_flags, CUlaunchAttributeID, CUstreamCaptureMode,
};
use cudarc::driver::{CudaContext, CudaGraph, CudaStream};
use plimsoll_backend::Error;

use crate::NAME;
use crate::driver::{Driver, Gemm, Launch};
use crate::gpus::{self, GpuId};
use crate::library::{Library, WORKSPACE};
use crate::params::{self, KERNELS, Kernel, Params, THREADS};

/// All kernels for all processors, made by `cargo xtask kernels`.
static FATBIN: &[u8] = include_bytes!("../kernels/kernels.fatbin");
/// Bytes of memory asked for at a time.
const PIECE: usize = 32 << 20;
/// Bytes of memory left to the driver, for graphs above all.
const RESERVE: usize = 128 << 20;
/// Kernels compiled for this architecture or a later one wait for the launches ahead themselves.
const OVERLAP: i32 = 90;

/// A GPU with the kernels loaded, and a stream of its own.
pub struct Gpu {
    functions: HashMap<&'static str, sys::CUfunction>,
    module: sys::CUmodule,
    stream: Arc<CudaStream>,
    context: Arc<CudaContext>,
    shared_limit: usize,
    multiprocessors: usize,
    /// Whether launches overlap.
    overlaps: bool,
    /// For products in whatever order, with what it computes in.
    library: Option<(Library, Memory)>,
}

// SAFETY: handles of the driver may be used by any thread whose context is bound, which every method does first.
unsafe impl Send for Gpu {}

/// Memory on a GPU.
pub struct Memory {
    address: sys::CUdeviceptr,
    bytes: usize,
    /// Work that uses it is waited for before it is given back.
    stream: Arc<CudaStream>,
}

/// Launches captured on a GPU.
pub struct Graph(CudaGraph);

// SAFETY: as for `Gpu`; a graph is used by one thread at a time.
unsafe impl Send for Graph {}

pub(crate) fn device_error(reason: impl ToString) -> Error {
    Error::Device { backend: NAME, reason: reason.to_string() }
}

pub(crate) fn failed(what: &str) -> impl Fn(DriverError) -> Error + '_ {
    move |error| device_error(format!("{what}: {error}"))
}

/// A kernel that may use all shared memory of a block, the architecture that it was compiled for, and the bytes that it takes.
fn function(
    module: sys::CUmodule,
    kernel: &str,
    shared_limit: i32,
) -> std::result::Result<(sys::CUfunction, i32, usize), DriverError> {
    let name = CString::new(kernel).expect("kernels have plain names");
    let limit = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    let version = CUfunction_attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION;
    let (mut offset, mut bytes) = (0, 0);
    // SAFETY: the module is loaded, and both numbers are there to be written.
    unsafe {
        let function = result::module::get_function(module, name)?;
        result::function::set_function_attribute(function, limit, shared_limit)?;
        sys::cuFuncGetParamInfo(function, 0, &mut offset, &mut bytes).result()?;
        Ok((function, result::function::get_function_attribute(function, version)?, bytes))
    }
}

impl Gpu {
    /// A GPU.
    ///
    /// # Errors
    /// [`Error::Device`] without driver or GPU, or with one that is too old, saying what was found.
    pub fn new(id: GpuId) -> Result<Self, Error> {
        // SAFETY: the image is whole, and made for the driver's version or older.
        Self::open(id, || unsafe { result::module::load_data(FATBIN.as_ptr().cast()) })
    }

    /// A GPU that runs the kernels in a file, compiled elsewhere.
    ///
    /// # Safety
    /// They read and write what those of this build do.
    ///
    /// # Errors
    /// As for [`new`](Self::new); [`Error::Device`] for kernels that are missing or take something else.
    pub unsafe fn with_kernels(id: GpuId, file: &Path) -> Result<Self, Error> {
        let name = CString::new(file.as_os_str().as_encoded_bytes()).map_err(device_error)?;
        Self::open(id, || result::module::load(name))
    }

    fn open(id: GpuId, load: impl FnOnce() -> std::result::Result<sys::CUmodule, DriverError>) -> Result<Self, Error> {
        let context = CudaContext::new(gpus::select(id)?).map_err(failed("opening the GPU"))?;
        let stream = context.new_stream().map_err(failed("making a stream"))?;
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let shared_limit = context.attribute(attribute).map_err(failed("asking for shared memory"))?;
        let module = load().map_err(failed("loading kernels"))?;
        let shared = shared_limit.max(0) as usize;
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(attribute).map_err(failed("counting multiprocessors"))?;
        let mut gpu = Self {
            functions: HashMap::new(),
            module,
            stream,
            context,
            shared_limit: shared,
            multiprocessors: multiprocessors.max(1) as usize,
            overlaps: true,
            library: None,
        };
        for &Kernel { name, params } in KERNELS {
            let (function, version, bytes) = function(module, name, shared_limit).map_err(failed(name))?;
            if bytes != params {
                return Err(device_error(format!("the kernel `{name}` takes {bytes} bytes, expected {params}")));
            }
            gpu.functions.insert(name, function);
            gpu.overlaps &= version >= OVERLAP;
        }
        Ok(gpu)
    }

    /// Whether launches may overlap, which they do where the GPU can: not, to see what it is worth.
    pub fn overlapping(mut self, overlap: bool) -> Self {
        self.overlaps &= overlap;
        self
    }

    /// Bytes a second, those read and those written together, of copies of so many bytes within the GPU's memory.
    ///
    /// # Errors
    /// [`Error::Device`] for want of memory twice that.
    pub fn copy_bandwidth(&self, bytes: usize) -> Result<f64, Error> {
        const COPIES: usize = 10;
        let (from, to) = (self.allocate(bytes)?, self.allocate(bytes)?);
        let copies = |count: usize| {
            let start = Instant::now();
            for _ in 0..count {
                // SAFETY: both are as large.
                unsafe { result::memcpy_dtod_async(to.address, from.address, bytes, self.stream.cu_stream()) }?;
            }
            self.stream.synchronize()?;
            Ok(start.elapsed().as_secs_f64())
        };
        let time = copies(1).and_then(|_| copies(COPIES)).map_err(failed("copying"))?;
        Ok(2.0 * (bytes * COPIES) as f64 / time)
    }

    /// Seconds from one launch of a kernel that does next to nothing to the next.
    ///
    /// # Errors
    /// [`Error::Device`]
    pub fn launch_time(&self, count: usize) -> Result<f64, Error> {
        let nothing = params::CopyBlocks::zeroed();
        let (kernel, params) = (params::CopyBlocks::KERNEL, bytemuck::bytes_of(&nothing));
        let launch = Launch { kernel, grid: [1; 3], threads: THREADS, shared: 0, params };
        let launches = |count: usize| -> Result<f64, Error> {
            let start = Instant::now();
            for _ in 0..count {
                // SAFETY: with nothing to copy the kernel touches no memory.
                unsafe { self.launch(&launch) }?;
            }
            self.stream.synchronize().map_err(failed("waiting"))?;
            Ok(start.elapsed().as_secs_f64())
        };
        launches(10)?;
        Ok(launches(count)? / count as f64)
    }

    fn bind(&self) -> Result<(), Error> {
        self.context.bind_to_thread().map_err(failed("binding the GPU to a thread"))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // Nothing can be done about errors here; the context gives back all that is left.
        let _ = self.bind();
        let _ = self.stream.synchronize();
        // SAFETY: nothing runs any more.
        let _ = unsafe { result::module::unload(self.module) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = self.stream.context().bind_to_thread();
        let _ = self.stream.synchronize();
        // SAFETY: it was given by the driver, and nothing runs that could use it.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

impl Driver for Gpu {
    type Memory = Memory;
    type Graph = Graph;

    fn piece(&self) -> usize {
        PIECE
    }

    fn memory(&self) -> Result<plimsoll_backend::Memory, Error> {
        let (free, total) = self.context.mem_get_info().map_err(failed("asking for free memory"))?;
        Ok(plimsoll_backend::Memory { free: free.saturating_sub(RESERVE) as u64, total: total as u64 })
    }

    fn allocate(&self, bytes: usize) -> Result<Memory, Error> {
        self.bind()?;
        // SAFETY: is not read before it is written.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(|error| {
            let free = self.context.mem_get_info().map_or(0, |(free, _)| free);
            device_error(format!("memory of {bytes} bytes, where {free} are free: {error}"))
        })?;
        Ok(Memory { address, bytes, stream: self.stream.clone() })
    }

    fn address(&self, memory: &Memory) -> u64 {
        memory.address
    }

    fn write(&self, memory: &Memory, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        assert!(offset + bytes.len() <= memory.bytes, "more than the memory takes");
        self.bind()?;
        let to = memory.address + offset as u64;
        // SAFETY: the range lies in the memory. What can be paged is read before the call returns.
        unsafe { result::memcpy_htod_async(to, bytes, self.stream.cu_stream()) }.map_err(failed("copying to the GPU"))
    }

    fn read(&self, memory: &Memory, offset: usize, bytes: &mut [u8]) -> Result<(), Error> {
        assert!(offset + bytes.len() <= memory.bytes, "more than the memory has");
        self.bind()?;
        let from = memory.address + offset as u64;
        // SAFETY: the range lies in the memory, and is waited for.
        unsafe { result::memcpy_dtoh_async(bytes, from, self.stream.cu_stream()) }
            .and_then(|()| self.stream.synchronize())
            .map_err(failed("copying from the GPU"))
    }

    fn shared_limit(&self) -> usize {
        self.shared_limit
    }

    fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Error> {
        let Launch { kernel, grid: [x, y, z], threads, shared, params } = *launch;
        let function = *self.functions.get(kernel).ok_or_else(|| device_error(format!("no kernel `{kernel}`")))?;
        self.bind()?;
        let mut params = [params.as_ptr().cast_mut().cast::<c_void>()];
        // The next launch may start while this one runs: kernels wait where they must.
        let mut overlap = sys::CUlaunchAttribute {
            id: CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: shared,
            hStream: self.stream.cu_stream(),
            attrs: &mut overlap,
            numAttrs: u32::from(self.overlaps),
        };
        // SAFETY: the caller's promise; the driver copies the parameters before it returns.
        unsafe { sys::cuLaunchKernelEx(&config, function, params.as_mut_ptr(), ptr::null_mut()) }
            .result()
            .map_err(failed(kernel))
    }

    fn load_gemm(&mut self) -> Result<(), Error> {
        self.bind()?;
        self.library = Some((Library::new()?, self.allocate(WORKSPACE)?));
        Ok(())
    }

    unsafe fn gemm(&self, gemm: &Gemm) -> Result<(), Error> {
        let (library, workspace) = self.library.as_ref().ok_or_else(|| device_error("cublasLt was not loaded"))?;
        self.bind()?;
        // SAFETY: the caller's promise.
        unsafe { library.product(gemm, workspace.address, self.stream.cu_stream().cast()) }
    }

    fn capture(&self, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<Graph, Error> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).map_err(failed("capturing launches"))?;
        let recorded = record();
        // Ended in any case, so that the stream can be used again.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0));
        recorded?;
        let graph = graph.map_err(failed("making a graph of launches"))?;
        Ok(Graph(graph.ok_or_else(|| device_error("the driver captured no launches"))?))
    }

    unsafe fn replay(&self, graph: &Graph) -> Result<(), Error> {
        self.bind()?;
        graph.0.launch().map_err(failed("starting a graph of launches"))
    }
}
