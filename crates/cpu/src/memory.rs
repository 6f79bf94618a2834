//! Memory for packed weights: large pages, so that reading them misses the page tables seldom.

use memmap2::{MmapMut, MmapOptions};
use plimsoll_backend::Error;

use crate::NAME;

/// Bytes asked of the system at once.
const SEGMENT: usize = 256 << 20;

/// A place in [`Memory`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    segment: usize,
    first: usize,
    len: usize,
}

/// Anonymous memory that grows; what is not written takes no room.
#[derive(Default)]
pub(crate) struct Memory {
    segments: Vec<MmapMut>,
    used: usize,
}

impl Memory {
    /// Room for `len` bytes of zeros.
    ///
    /// # Errors
    /// [`Error::Device`] with the number of bytes if the system does not give them.
    pub(crate) fn take(&mut self, len: usize) -> Result<Place, Error> {
        let left = self.segments.last().map_or(0, |segment| segment.len() - self.used);
        if left < len || self.segments.is_empty() {
            self.segments.push(map(len.max(SEGMENT))?);
            self.used = 0;
        }
        let first = self.used;
        // The next matrix begins at a line of the cache.
        self.used = (first + len.next_multiple_of(64)).min(self.segments[self.segments.len() - 1].len());
        Ok(Place { segment: self.segments.len() - 1, first, len })
    }

    #[inline(always)]
    pub(crate) fn get(&self, place: Place) -> &[u8] {
        &self.segments[place.segment][place.first..][..place.len]
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> &mut [u8] {
        &mut self.segments[place.segment][place.first..][..place.len]
    }
}

fn map(len: usize) -> Result<MmapMut, Error> {
    let map = MmapOptions::new().len(len).map_anon();
    let map = map.map_err(|e| Error::Device { backend: NAME, reason: format!("{len} bytes for weights: {e}") })?;
    // Large pages are a wish: where the system has none, small ones do.
    #[cfg(target_os = "linux")]
    drop(map.advise(memmap2::Advice::HugePage));
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_overlap() {
        let mut memory = Memory::default();
        let places: Vec<Place> =
            [5, 64, 0, SEGMENT - 10, 3, SEGMENT + 1, 7].map(|len| memory.take(len).unwrap()).into();
        for (i, place) in places.iter().enumerate() {
            let bytes = memory.get_mut(*place);
            assert!(bytes.iter().take(100).all(|byte| *byte == 0), "place {i} was written");
            let len = bytes.len().min(100);
            bytes[..len].fill(i as u8 + 1);
        }
        assert!(places.iter().all(|place| memory.get(*place).len() == place.len));
    }
}
