//! Where models run: the only place that knows which backends are compiled in.

use plimsoll_candle::Candle;
use plimsoll_engine::bench::{Bench, Work};
use plimsoll_engine::{Error, Local, Opened, Progress, Scores};

use crate::{Result, Settings};

/// A device and the backend that drives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The best one that is there.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// Apple's GPU.
    #[cfg(feature = "metal")]
    Metal,
}

impl Device {
    /// The devices of this build, best first.
    pub const ALL: &'static [Device] = &[
        #[cfg(feature = "metal")]
        Device::Metal,
        Device::Cpu,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Device::Auto => "auto",
            Device::Cpu => "cpu",
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
        let works = Self::ALL.iter().find(|device| device.probe().is_ok()).unwrap_or(&Device::Cpu);
        (*works, format!("the first of {} that works", names(Self::ALL)))
    }

    /// Whether it can be used, or why not.
    pub fn probe(self) -> Result<()> {
        match self {
            Device::Auto | Device::Cpu => Ok(()),
            #[cfg(feature = "metal")]
            Device::Metal => Ok(Candle::metal().map(drop)?),
        }
    }

    /// Threads that a model here computes with if `asked` for some; none where the backend decides and cannot be told,
    /// as candle.
    pub fn threads(self, _asked: Option<usize>) -> Option<usize> {
        None
    }

    pub(crate) fn start(self, opened: Opened, settings: &Settings, progress: Progress<'_>) -> Result<Local> {
        let backend = self.pick().0.candle(settings.threads)?;
        Ok(opened.start(backend, settings.kv_bytes, settings.options.clone(), progress)?)
    }

    pub(crate) fn bench(
        self,
        opened: &Opened,
        works: &[Work],
        settings: &Settings,
        progress: Progress<'_>,
    ) -> Result<Bench> {
        let backend = self.pick().0.candle(settings.threads)?;
        Ok(Bench::load(opened, backend, works, settings.options.prefill_chunk, settings.kv_bytes, progress)?)
    }

    /// Loads a model here and scores token ids with it, one sequence after the other.
    ///
    /// # Errors
    /// As for [`Opened::score`].
    pub fn score(
        self,
        opened: &Opened,
        sequences: &[Vec<u32>],
        top: usize,
        progress: Progress<'_>,
    ) -> Result<Vec<Scores>> {
        Ok(opened.score(self.pick().0.candle(None)?, sequences, top, progress)?)
    }

    fn candle(self, threads: Option<usize>) -> Result<Candle> {
        if threads.is_some() {
            return Err(Error::Unsupported { param: "threads", by: "the candle backend".into() }.into());
        }
        match self {
            Device::Auto | Device::Cpu => Ok(Candle::cpu()),
            #[cfg(feature = "metal")]
            Device::Metal => Ok(Candle::metal()?),
        }
    }
}

fn names(devices: &[Device]) -> String {
    devices.iter().map(|device| device.name()).collect::<Vec<_>>().join(", ")
}
