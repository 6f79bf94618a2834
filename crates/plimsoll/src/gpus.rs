//! What GPUs a machine has, for people to read: the same in every build.

use crate::Result;

/// A driver for GPUs, and what it drives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gpus {
    /// The newest version of CUDA that the driver knows, `13.0`.
    pub cuda: String,
    /// The driver's own version, where the system tells.
    pub release: Option<String>,
    /// In the driver's order.
    pub gpus: Vec<GpuInfo>,
}

/// What a GPU is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GpuInfo {
    /// Counted from 0.
    pub number: usize,
    /// As its maker calls it.
    pub name: String,
    /// `GPU-` and 32 digits; it stays the same when GPUs are counted otherwise.
    pub uuid: String,
    /// Compute capability, `9.0`.
    pub capability: String,
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes nobody uses, where the GPU can be opened.
    pub free: Option<u64>,
    /// Which of the compiled kernels it runs.
    pub kernels: String,
}

impl Gpus {
    /// Asks the driver; none in a build for no GPUs.
    ///
    /// # Errors
    /// Without a driver that works, saying what was found.
    #[cfg(not(feature = "cuda"))]
    pub fn look() -> Option<Result<Self>> {
        None
    }

    /// Asks the driver; none in a build for no GPUs.
    ///
    /// # Errors
    /// Without a driver that works, saying what was found.
    #[cfg(feature = "cuda")]
    pub fn look() -> Option<Result<Self>> {
        Some(plimsoll_cuda::gpus::Gpus::look().map(Self::from).map_err(Into::into))
    }
}

#[cfg(feature = "cuda")]
impl From<plimsoll_cuda::gpus::Gpus> for Gpus {
    fn from(found: plimsoll_cuda::gpus::Gpus) -> Self {
        let version = |(major, minor): (i32, i32)| format!("{major}.{minor}");
        let gpu = |gpu: plimsoll_cuda::gpus::Description| GpuInfo {
            number: gpu.number,
            name: gpu.name,
            uuid: gpu.uuid.to_string(),
            capability: version(gpu.capability),
            multiprocessors: gpu.multiprocessors,
            memory: gpu.memory as u64,
            free: gpu.free.map(|free| free as u64),
            kernels: plimsoll_cuda::gpus::kernels(gpu.capability),
        };
        Self { cuda: version(found.cuda), release: found.release, gpus: found.gpus.into_iter().map(gpu).collect() }
    }
}
