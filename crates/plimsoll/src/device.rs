//! Where models run: the only place that knows which backends are compiled in.

use plimsoll_candle::Candle;
use plimsoll_engine::{Local, Opened, Options, Progress, Scores};

use crate::Result;

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

    pub(crate) fn start(
        self,
        opened: Opened,
        kv_bytes: Option<u64>,
        options: Options,
        progress: Progress<'_>,
    ) -> Result<Local> {
        Ok(opened.start(self.pick().0.candle()?, kv_bytes, options, progress)?)
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
        Ok(opened.score(self.pick().0.candle()?, sequences, top, progress)?)
    }

    fn candle(self) -> Result<Candle> {
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
