//! SHA-256 of many ranges of many files, on all cores.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use sha2::Digest as _;

use crate::Sha256;

/// Called from several threads with the bytes hashed so far and the bytes in all.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// One read: large enough that system calls do not count, small enough for a core's cache.
const BUFFER: usize = 256 << 10;

/// `len` bytes of `file` from `start`.
pub(crate) struct Range<'a> {
    pub(crate) file: &'a File,
    pub(crate) start: u64,
    pub(crate) len: u64,
}

/// Splits `size` bytes of a file into ranges of `chunk` bytes, the last one shorter.
pub(crate) fn chunks(file: &File, size: u64, chunk: u64) -> impl Iterator<Item = Range<'_>> {
    (0..size.div_ceil(chunk)).map(move |index| {
        let start = index * chunk;
        Range { file, start, len: chunk.min(size - start) }
    })
}

/// The hash of every range, in order. An error comes with the index of its range; a range that ends beyond its file is
/// `UnexpectedEof`.
pub(crate) fn hash_ranges(ranges: &[Range<'_>], progress: Progress<'_>) -> Result<Vec<Sha256>, (usize, io::Error)> {
    // Large ranges first, so that no core is left alone with a whole file at the end.
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(ranges[index].len));
    let total = ranges.iter().map(|range| range.len).sum();
    let (next, done, failed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let advance = |bytes: u64| progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total);
    let work = || {
        let mut buffer = vec![0; BUFFER];
        let mut hashes = Vec::new();
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            let hash = hash(&ranges[index], &mut buffer, &advance).map_err(|error| {
                failed.store(true, Ordering::Relaxed);
                (index, error)
            })?;
            hashes.push((index, hash));
        }
        Ok(hashes)
    };
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores.min(ranges.len())).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut hashes = vec![Sha256([0; 32]); ranges.len()];
    for result in results {
        for (index, hash) in result? {
            hashes[index] = hash;
        }
    }
    Ok(hashes)
}

fn hash(range: &Range<'_>, buffer: &mut [u8], advance: &dyn Fn(u64)) -> io::Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    let mut done = 0;
    while done < range.len {
        let want = (range.len - done).min(buffer.len() as u64) as usize;
        let read = match read_at(range.file, &mut buffer[..want], range.start + done) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        hasher.update(&buffer[..read]);
        done += read as u64;
        advance(read as u64);
    }
    Ok(Sha256(hasher.finalize().into()))
}

/// Reads at an offset, so that threads share one descriptor.
#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

/// Reads at an offset, so that threads share one descriptor.
#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn hashes_ranges_in_order_and_counts_every_byte() {
        let bytes: Vec<u8> = (0..1_000_003u32).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        for chunk in [1 << 16, 300_000, 1_000_003, 2_000_000] {
            let ranges: Vec<_> = chunks(&file, bytes.len() as u64, chunk).collect();
            let last = AtomicU64::new(0);
            let seen = |done: u64, total: u64| {
                assert!(done <= total && total == bytes.len() as u64);
                last.fetch_max(done, Ordering::Relaxed);
            };
            let expected: Vec<_> = bytes.chunks(chunk as usize).map(Sha256::of).collect();
            assert_eq!(hash_ranges(&ranges, &seen).unwrap(), expected);
            assert_eq!(last.into_inner(), bytes.len() as u64);
        }
        assert_eq!(chunks(&file, 0, 1 << 16).count(), 0);
    }

    #[test]
    fn a_file_that_ends_early_is_an_error_with_its_index() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        let range = |start, len| Range { file: &file, start, len };
        let (index, error) = hash_ranges(&[range(0, 3), range(2, 2)], &|_, _| {}).unwrap_err();
        assert_eq!((index, error.kind()), (1, io::ErrorKind::UnexpectedEof));
        assert_eq!(hash_ranges(&[range(3, 0)], &|_, _| {}).unwrap(), [Sha256::of(b"")]);
        assert_eq!(hash_ranges(&[], &|_, _| {}).unwrap(), []);
    }
}
