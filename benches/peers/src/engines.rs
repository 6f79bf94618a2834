//! The engines, one file each.

#[cfg(feature = "candle")]
mod candle;
#[cfg(feature = "llama-cpp")]
mod llama_cpp;
#[cfg(feature = "mistralrs")]
mod mistralrs;
mod plimsoll;

use std::error::Error;
use std::fs;
use std::time::Duration;

use ::plimsoll::bench::Work;

use crate::job::{Job, Speed};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// An engine that is linked in.
pub(crate) struct Linked {
    pub(crate) name: &'static str,
    /// All that are worth trying; the best of them is measured.
    pub(crate) settings: &'static [&'static str],
    open: fn(&Job) -> Result<Box<dyn Engine>>,
}

/// Ours first; the others are compared with it.
pub(crate) const LINKED: &[Linked] = &[
    plimsoll::LINKED,
    #[cfg(feature = "llama-cpp")]
    llama_cpp::LINKED,
    #[cfg(feature = "candle")]
    candle::LINKED,
    #[cfg(feature = "mistralrs")]
    mistralrs::LINKED,
];

/// A loaded model.
trait Engine {
    /// Does `work` after filling a cache of its own to its depth; returns how long the work alone took.
    fn run(&mut self, work: &Work) -> Result<Duration>;
}

/// Work that loads the pages, starts the threads and fills the caches.
fn warm_up(work: &Work) -> [Work; 2] {
    [Work::prefill(32, 0), Work::decode(4, 0, work.sequences)]
}

/// Does one job in this process.
pub(crate) fn measure(job: &Job) -> Result<Speed> {
    let unknown = || format!("engine: found '{}', which is not in this build", job.engine);
    let linked = LINKED.iter().find(|linked| linked.name == job.engine).ok_or_else(unknown)?;
    let mut engine = (linked.open)(job)?;
    for work in warm_up(&job.row.0) {
        engine.run(&work)?;
    }
    let time = engine.run(&job.row.0)?;
    Ok(Speed { tok_s: job.row.0.tok_s(time), peak_bytes: peak_bytes() })
}

fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// A token id that every vocabulary has, and that differs from its neighbours.
#[cfg(any(feature = "llama-cpp", feature = "candle", feature = "mistralrs"))]
fn token(sequence: usize, position: usize) -> u32 {
    5 + (position * 7919 + sequence * 104_729) as u32 % 200
}
