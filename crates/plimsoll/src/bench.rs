//! Timing a model's steps, and the memory bandwidth that bounds them.
//!
//! ```no_run
//! use plimsoll::bench::Work;
//!
//! fn main() -> plimsoll::Result<()> {
//!     let opened = plimsoll::open_unlocked("model.gguf")?;
//!     let work = Work::decode(64, 4096, 1);
//!     let mut bench = plimsoll::Settings::default().bench(&opened, &[work], &|_, _| ())?;
//!     for _ in 0..5 {
//!         println!("{:.1} tokens per second", work.tok_s(bench.run(&work)?));
//!     }
//!     Ok(())
//! }
//! ```

pub use plimsoll_cpu::{ReadProbe, read_bandwidth};
pub use plimsoll_engine::bench::{Bench, Phase, Spread, Work};
use plimsoll_engine::{Opened, Progress};

use crate::{Result, Settings};

impl Settings {
    /// Loads a model whose steps are to be timed, with a cache for the largest of `works`; prompts are cut into chunks of
    /// [`prefill_chunk`](crate::Options::prefill_chunk) tokens.
    ///
    /// # Errors
    /// As for [`Bench::load`].
    pub fn bench(&self, opened: &Opened, works: &[Work], progress: Progress<'_>) -> Result<Bench> {
        self.load_bench(opened, works, progress)
    }
}
