//! How the backend uses the machine.

use plimsoll_backend::Error;

use crate::simd::Isa;
use crate::{KvType, NAME, Tier, affinity};

/// Settings of one [`Cpu`](crate::Cpu).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Threads that compute, the one that runs the steps included; by default one for each of `cores`, or for every core
    /// the process may use.
    pub threads: Option<usize>,
    /// Cores to pin the threads to, in turn, the one that runs the steps to the first; none leaves it to the system.
    pub cores: Vec<usize>,
    /// Instruction set; by default the fastest of this processor.
    pub tier: Option<Tier>,
    /// How keys and values are stored.
    pub kv: KvType,
}

impl Options {
    /// Threads that compute.
    pub fn threads(&self) -> usize {
        let all = || match self.cores.len() {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            cores => cores,
        };
        self.threads.unwrap_or_else(all).max(1)
    }

    /// The instruction set that is used.
    pub fn tier(&self) -> Tier {
        self.tier.unwrap_or_else(Tier::best)
    }

    /// Cores that threads can be pinned to: those the calling thread may use, and none on systems but Linux.
    pub fn allowed_cores() -> Vec<usize> {
        affinity::allowed()
    }

    /// The instructions of the tier, if the machine has it and all cores.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with what it has.
    pub(crate) fn isa(&self) -> Result<Isa, Error> {
        let unsupported = |what| Error::Unsupported { backend: NAME, what };
        let allowed = Self::allowed_cores();
        if let Some(core) = self.cores.iter().find(|core| !allowed.contains(core)) {
            return Err(unsupported(format!("pinning to core {core} here; possible are {allowed:?}")));
        }
        let tier = self.tier();
        tier.isa().ok_or_else(|| {
            let has = Tier::here().map(Tier::name).collect::<Vec<_>>().join(", ");
            unsupported(format!("the {tier} instruction set on this processor, which has {has}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_as_many_as_the_cores() {
        let options = |threads, cores: &[usize]| Options { threads, cores: cores.to_vec(), ..Options::default() };
        let all = std::thread::available_parallelism().unwrap().get();
        for (threads, cores, expected) in [
            (None, &[][..], all),
            (None, &[4, 5, 6], 3),
            (Some(2), &[4, 5, 6], 2),
            (Some(7), &[], 7),
            (Some(0), &[], 1),
        ] {
            assert_eq!(options(threads, cores).threads(), expected, "{threads:?} {cores:?}");
        }
    }

    #[test]
    fn what_the_machine_lacks_is_named_beside_what_it_has() {
        let lacks = Tier::ALL.iter().find(|tier| !tier.available());
        let error = Options { tier: lacks.copied(), ..Options::default() }.isa().unwrap_err().to_string();
        assert!(
            error.contains("instruction set on this processor, which has ") && error.ends_with("scalar"),
            "{error}"
        );
        let error = Options { cores: vec![1 << 20], ..Options::default() }.isa().unwrap_err().to_string();
        assert!(error.contains(&format!("core 1048576 here; possible are {:?}", affinity::allowed())), "{error}");
        for tier in Tier::here() {
            let cores = affinity::allowed();
            assert!(Options { tier: Some(tier), cores, ..Options::default() }.isa().is_ok(), "{tier}");
        }
    }
}
