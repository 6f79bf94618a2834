//! How fast this machine reads memory: the roofline of decoding.

use std::hint::black_box;
use std::io;
use std::sync::RwLock;
use std::thread;
use std::time::Instant;

use memmap2::MmapMut;

use crate::affinity::pin;
use crate::simd::{Kernel, Simd, Tier};

/// Places that a thread reads at in turn. One stream leaves a fifth of what a core can get to the prefetcher.
const STREAMS: usize = 4;
/// Bytes read at each.
const LINE: usize = 512;

/// A region of memory, in huge pages where the system has them, that threads read from end to end.
///
/// A reading is worth something only beside the work it is compared with: the bandwidth of a shared machine changes from
/// second to second. Take one after each repetition.
#[derive(Debug)]
pub struct ReadProbe {
    region: MmapMut,
    threads: usize,
    cores: Vec<usize>,
}

impl ReadProbe {
    /// The size that no cache holds: 1 GiB.
    pub const BYTES: usize = 1 << 30;

    /// Allocates and touches at least `bytes`, of which each thread reads an equal, contiguous share.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for no threads and no bytes, and whatever the system says when it
    /// has no such memory.
    pub fn new(threads: usize, bytes: usize) -> io::Result<Self> {
        let unit = threads.checked_mul(STREAMS * LINE).filter(|unit| *unit > 0 && bytes > 0);
        let Some(len) = unit.and_then(|unit| bytes.checked_next_multiple_of(unit)) else {
            let message =
                format!("read probe: found {bytes} bytes for {threads} threads, expected at least one of each");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        let mut region = MmapMut::map_anon(len)?;
        // A kernel without huge pages refuses; the region is as good as it gets then.
        #[cfg(target_os = "linux")]
        let _ = region.advise(memmap2::Advice::HugePage);
        region.fill(1);
        Ok(Self { region, threads, cores: Vec::new() })
    }

    /// Pins its threads to cores, in turn, as [`Options::cores`](crate::Options::cores) does: threads inherit the core of
    /// a pinned one that starts them.
    pub fn on(self, cores: &[usize]) -> Self {
        Self { cores: cores.to_vec(), ..self }
    }

    /// Reads all of it once, and returns bytes per second from the first thread's start to the last one's end.
    ///
    /// # Errors
    /// A thread that the system refuses.
    pub fn measure(&self) -> io::Result<f64> {
        let now = Instant::now();
        let mut spans = vec![(now, now); self.threads];
        let gate = &RwLock::new(());
        let isa = Tier::best().isa();
        thread::scope(|scope| {
            // Not a barrier: a thread that cannot be had would leave the others waiting for it.
            let closed = gate.write();
            let shares = self.region.chunks_exact(self.region.len() / self.threads);
            for (i, (share, span)) in shares.zip(&mut spans).enumerate() {
                let core = self.cores.get(i % self.cores.len().max(1)).copied();
                thread::Builder::new().spawn_scoped(scope, move || {
                    core.into_iter().for_each(pin);
                    drop(gate.read());
                    let start = Instant::now();
                    black_box(isa.map(|isa| isa.run(Sum(share))));
                    *span = (start, Instant::now());
                })?;
            }
            drop(closed);
            io::Result::Ok(())
        })?;
        let start = spans.iter().map(|span| span.0).min().unwrap_or(now);
        let end = spans.iter().map(|span| span.1).max().unwrap_or(now);
        Ok(self.region.len() as f64 / (end - start).as_secs_f64())
    }
}

/// Bytes per second of each of `reps` readings of `bytes` by `threads`.
///
/// # Errors
/// As for [`ReadProbe`].
pub fn read_bandwidth(threads: usize, bytes: usize, reps: usize) -> io::Result<Vec<f64>> {
    let probe = ReadProbe::new(threads, bytes)?;
    (0..reps).map(|_| probe.measure()).collect()
}

/// The sum of the words of whole lines of all streams. Narrow registers read slower, hence a kernel.
struct Sum<'a>(&'a [u8]);

impl Kernel for Sum<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u64 {
        let (lines, _) = self.0.as_chunks::<LINE>();
        let stream = lines.len() / STREAMS;
        let mut sum = 0u64;
        // Loops and no closures, which would be compiled apart.
        for line in 0..stream {
            for i in 0..STREAMS {
                for word in lines[i * stream + line].as_chunks().0 {
                    sum = sum.wrapping_add(u64::from_le_bytes(*word));
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read() {
        let bytes: Vec<u8> = (0..3 * STREAMS * LINE).map(|i| (i * 37 % 251) as u8).collect();
        let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let expected = words.fold(0, u64::wrapping_add);
        for isa in Tier::ALL.iter().filter_map(|tier| tier.isa()) {
            assert_eq!(isa.run(Sum(&bytes)), expected);
        }
    }

    #[test]
    fn threads_share_the_region_evenly() {
        for (threads, bytes, len) in [(1, 1, 2048), (3, 10_000, 2 * 6144), (2, 8192, 8192)] {
            let probe = ReadProbe::new(threads, bytes).unwrap();
            assert_eq!(probe.region.len(), len);
            assert!(probe.region.iter().all(|byte| *byte == 1));
            assert!(probe.measure().unwrap() > 0.0);
        }
        assert_eq!(read_bandwidth(2, 1 << 16, 3).unwrap().len(), 3);
    }

    #[test]
    fn nothing_to_read_is_refused() {
        for (threads, bytes) in [(0, 1), (1, 0), (usize::MAX, 1), (2, usize::MAX)] {
            let error = ReadProbe::new(threads, bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{threads} {bytes}");
        }
    }
}
