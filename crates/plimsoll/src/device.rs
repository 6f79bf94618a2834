//! Where models run: the only place that knows which backends are compiled in.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "cuda")]
use plimsoll_backend::Split;
#[cfg(feature = "candle")]
use plimsoll_candle::Candle;
use plimsoll_cpu::Cpu;
#[cfg(feature = "cuda")]
use plimsoll_cuda::{
    Cuda,
    gpu::Gpu,
    gpus::{self, GpuId},
};
#[cfg(feature = "cuda")]
use plimsoll_engine::Placed;
use plimsoll_engine::bench::{Bench, Work};
use plimsoll_engine::{Local, Opened, Options, Progress, Scores};

#[cfg(feature = "cuda")]
use crate::KvType;
use crate::{CpuOptions, Result, Settings};

/// A device and the backend that drives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The best one that is there.
    #[default]
    Auto,
    /// A GPU of NVIDIA's.
    #[cfg(feature = "cuda")]
    Cuda(GpuId),
    /// The processor, with this project's own kernels.
    Cpu,
    /// The processor, with candle's: the reference that everything else is held to, and slow.
    #[cfg(feature = "candle")]
    Candle,
    /// Apple's GPU.
    #[cfg(feature = "metal")]
    Metal,
}

impl Device {
    /// The devices of this build, best first; of several GPUs the first.
    pub const ALL: &'static [Device] = &[
        #[cfg(feature = "cuda")]
        Device::Cuda(GpuId::Number(0)),
        #[cfg(feature = "metal")]
        Device::Metal,
        Device::Cpu,
        #[cfg(feature = "candle")]
        Device::Candle,
    ];

    /// The devices of this build, best first, with every GPU of this machine.
    pub fn here() -> Vec<Device> {
        Self::ALL.iter().flat_map(|device| device.each()).collect()
    }

    /// All that are there of its kind.
    fn each(self) -> Vec<Device> {
        match self {
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => match gpus::count() {
                Ok(count @ 1..) => (0..count).map(|number| Device::Cuda(GpuId::Number(number))).collect(),
                _ => vec![self],
            },
            _ => vec![self],
        }
    }

    /// What kind of device it is.
    pub fn name(self) -> &'static str {
        match self {
            Device::Auto => "auto",
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => "cuda",
            Device::Cpu => "cpu",
            #[cfg(feature = "candle")]
            Device::Candle => "candle",
            #[cfg(feature = "metal")]
            Device::Metal => "metal",
        }
    }

    /// The device that would be used, and why.
    pub fn pick(self) -> (Device, String) {
        if self != Device::Auto {
            return (self, "asked for".into());
        }
        if let [only] = Self::ALL {
            return (*only, "the only one in this build".into());
        }
        let here = Self::here();
        let works = here.iter().find(|device| device.probe().is_ok()).unwrap_or(&Device::Cpu);
        (*works, format!("the first of {} that works", names(&here)))
    }

    /// Whether it can be used, or why not.
    pub fn probe(self) -> Result<()> {
        match self {
            #[cfg(feature = "cuda")]
            Device::Cuda(id) => Ok(Gpu::new(id).map(drop)?),
            #[cfg(feature = "metal")]
            Device::Metal => Ok(Candle::metal().map(drop)?),
            _ => Ok(()),
        }
    }

    /// Whether a model's weights lie in the processor's memory here.
    pub fn on_processor(self) -> bool {
        match self.pick().0 {
            #[cfg(feature = "candle")]
            Device::Candle => true,
            device => device == Device::Cpu,
        }
    }

    /// What of [`Settings::cpu`] holds for a model here; none where the backend decides for itself.
    pub fn cpu(self, settings: &Settings) -> Option<&CpuOptions> {
        (self.pick().0 == Device::Cpu).then_some(&settings.cpu)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "cuda")]
            Device::Cuda(id) => write!(f, "cuda:{id}"),
            _ => f.write_str(self.name()),
        }
    }
}

/// `auto`, `cpu`, `cuda:0`, `cuda:GPU-3f2a`: what this build has.
impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        #[cfg(feature = "cuda")]
        if let Some(id) = text.strip_prefix("cuda:") {
            return id.parse().map(Device::Cuda);
        }
        let known = [Device::Auto].iter().chain(Self::ALL).find(|device| device.name() == text);
        known.copied().ok_or_else(|| format!("this build has auto, {}", names(Self::ALL)))
    }
}

/// What a model runs on that is meant for a GPU.
#[cfg(feature = "cuda")]
enum OnCuda {
    Whole(Cuda<Gpu>),
    Shared(Box<Split<Cpu, Cuda<Gpu>>>),
    /// Not one layer fits.
    Not(Cpu),
}

/// Runs an expression with the backend of a device, or with two that share a model loaded for some sizes.
macro_rules! with_backend {
    ($settings:expr, $opened:expr, $sizes:expr, $backend:ident => $run:expr) => {
        match $settings.device.pick().0 {
            Device::Auto | Device::Cpu => {
                let $backend = Cpu::new(&$settings.cpu)?;
                $run
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(id) => match $settings.on_cuda(id, $opened, $sizes)? {
                OnCuda::Whole($backend) => $run,
                OnCuda::Shared($backend) => {
                    let $backend = *$backend;
                    $run
                }
                OnCuda::Not($backend) => $run,
            },
            #[cfg(feature = "candle")]
            Device::Candle => {
                let $backend = Candle::cpu();
                $run
            }
            #[cfg(feature = "metal")]
            Device::Metal => {
                let $backend = Candle::metal()?;
                $run
            }
        }
    };
}

impl Device {
    /// Limits of scheduling that suit it: a GPU is only busy with many tokens at a time.
    fn options(self) -> Options {
        match self {
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => {
                let mut options = Options::default();
                (options.step_tokens, options.prefill_chunk, options.sequences) = (2048, 1024, 256);
                options
            }
            _ => Options::default(),
        }
    }
}

impl Settings {
    /// Limits of scheduling: those that were set, or what suits the device.
    pub fn options(&self) -> Options {
        self.options.clone().unwrap_or_else(|| self.device.pick().0.options())
    }

    /// How keys and values are stored on a GPU.
    #[cfg(feature = "cuda")]
    fn cuda_kv(&self) -> Result<plimsoll_cuda::KvType> {
        match self.cpu.kv {
            KvType::F16 => Ok(plimsoll_cuda::KvType::F16),
            KvType::Q8 => Ok(plimsoll_cuda::KvType::Q8),
            KvType::F32 => {
                let what = "a cache of f32; it has f16 and q8".into();
                Err(plimsoll_backend::Error::Unsupported { backend: "CUDA", what }.into())
            }
        }
    }

    /// Where a model goes; one that does not fit a GPU is shared only where that was left open.
    #[cfg(feature = "cuda")]
    fn on_cuda(&self, id: GpuId, opened: &Opened, sizes: plimsoll_engine::Sizes) -> Result<OnCuda> {
        use plimsoll_engine::Error::Backend;
        let cuda = Cuda::new(Gpu::new(id)?, self.cuda_kv()?)?.with_memory(self.gpu_bytes.unwrap_or(u64::MAX));
        let cuda = if self.fast_prefill { cuda.with_fast_prefill()? } else { cuda };
        let auto = self.device == Device::Auto;
        if !auto && self.gpu_bytes.is_none() {
            return Ok(OnCuda::Whole(cuda));
        }
        match opened.place(cuda, || Cpu::new(&self.cpu), sizes) {
            Ok(Placed::Whole(cuda)) => Ok(OnCuda::Whole(cuda)),
            Ok(Placed::Shared(split)) => Ok(OnCuda::Shared(Box::new(split))),
            Err(Backend(plimsoll_backend::Error::Memory { .. })) if auto => Ok(OnCuda::Not(Cpu::new(&self.cpu)?)),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn local(&self, opened: Opened, progress: Progress<'_>) -> Result<Local> {
        let options = self.options();
        with_backend!(self, &opened, plimsoll_engine::Sizes::serving(self.kv_bytes, &options), backend => {
            Ok(opened.start(backend, self.kv_bytes, options, progress)?)
        })
    }

    pub(crate) fn load_bench(&self, opened: &Opened, works: &[Work], progress: Progress<'_>) -> Result<Bench> {
        let chunk = self.options().prefill_chunk;
        with_backend!(self, opened, Bench::sizes(opened, works, chunk)?, backend => {
            Ok(Bench::load(opened, backend, works, chunk, self.kv_bytes, progress)?)
        })
    }

    /// Loads a model and scores token ids with it, one sequence after the other.
    ///
    /// # Errors
    /// As for [`Opened::score`].
    pub fn score(
        &self,
        opened: &Opened,
        sequences: &[Vec<u32>],
        top: usize,
        progress: Progress<'_>,
    ) -> Result<Vec<Scores>> {
        with_backend!(self, opened, plimsoll_engine::Sizes::scoring(sequences), backend => {
            Ok(opened.score(backend, sequences, top, progress)?)
        })
    }
}

fn names(devices: &[Device]) -> String {
    devices.iter().map(Device::to_string).collect::<Vec<_>>().join(", ")
}
