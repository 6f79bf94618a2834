//! How the backend uses the machine.

use crate::{KvType, Tier};

/// Settings of one [`Cpu`](crate::Cpu).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Threads that compute, the caller's included; by default one for every core the process may use.
    pub threads: Option<usize>,
    /// Cores to pin the threads to, in turn, the caller's to the first; none leaves it to the system.
    pub cores: Vec<usize>,
    /// Instruction set; by default the fastest of this processor.
    pub tier: Option<Tier>,
    /// How keys and values are stored.
    pub kv: KvType,
}

impl Options {
    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
    }

    /// The instruction set that is used.
    pub fn tier(&self) -> Tier {
        self.tier.unwrap_or_else(Tier::best)
    }
}
