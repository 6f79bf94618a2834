//! Read-only mapping of a file.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::{Deref, Range};

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

use crate::Error;

/// The bytes of a file, mapped read-only.
///
/// The mapping shares the file's pages: a file that is written to while mapped changes under the reader, and one that
/// is truncated makes the next touch of a lost page raise SIGBUS, which no check here can prevent. Map the descriptor
/// that was verified, and replace model files by renaming, never by writing into them.
#[derive(Debug)]
pub struct Map(Option<Mmap>);

impl Map {
    /// Maps a whole file; an empty one, which cannot be mapped, gives no bytes. `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Io`] if the descriptor cannot be mapped (a directory, a pipe, no address space).
    pub fn new(name: &str, file: &File) -> Result<Self, Error> {
        let io = |source| Error::Io { file: name.to_owned(), source };
        if file.metadata().map_err(io)?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the mapping is read-only, lives as long as every slice borrowed from it, and needs no alignment.
        // What remains is that the bytes of a slice must not change. No code of ours writes to model files; against
        // other processes this holds only as far as the type's documentation says. All readers are bounds-checked on
        // the mapped length, read each header number once, and take any byte for a valid value of the data, so that a
        // concurrent write yields wrong numbers, not wrong addresses.
        let map = unsafe { Mmap::map(file) }.map_err(io)?;
        Ok(Self(Some(map)))
    }

    /// Gives the memory of a range back; what is touched again is read from the file again.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Some(map) = self.0.as_ref().filter(|map| range.end <= map.len() && !range.is_empty()) {
            // SAFETY: pages of a shared file mapping that was never written are dropped: they come back with the bytes of the
            // file, which do not change while it is mapped, as far as the type's documentation says.
            // It is a wish: where the system does not hear it, the pages stay.
            let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn maps_what_was_written_and_nothing_of_an_empty_file() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(Map::new("empty", &file).unwrap().is_empty());
        file.write_all(b"abc").unwrap();
        assert_eq!(&*Map::new("file", &file).unwrap(), b"abc");
    }

    #[test]
    fn what_was_released_is_read_again() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..100_000).map(|i| i as u8).collect();
        file.write_all(&bytes).unwrap();
        let map = Map::new("file", &file).unwrap();
        for range in [0..100_000, 10..20, 5000..90_000, 7..7, 99_999..100_001] {
            map.release(range);
            assert_eq!(&*map, bytes);
        }
        Map(None).release(0..1);
    }

    #[test]
    fn a_directory_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let error = Map::new("models", &File::open(dir.path()).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("models: "), "{error}");
    }
}
