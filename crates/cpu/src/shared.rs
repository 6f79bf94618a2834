//! Mutable data that the units of a phase write side by side.
#![allow(unsafe_code)]

use std::marker::PhantomData;

/// Data cut into parts that do not overlap.
///
/// # Safety
/// Parts of different indices must not overlap, and what they refer to must stay borrowed while the value lives.
pub(crate) unsafe trait Split: Sync {
    /// A part.
    type Part;
    /// How many there are.
    fn parts(&self) -> usize;
    /// # Safety
    /// `i` is less than `parts()`, and the part of each index is taken at most once at a time.
    unsafe fn part(&self, i: usize) -> Self::Part;
}

/// A matrix cut into vertical strips.
pub(crate) struct Strips<'a, T> {
    data: *mut T,
    rows: usize,
    stride: usize,
    used: usize,
    width: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

/// One strip; its rows are slices of one width.
pub(crate) struct Strip<'a, T> {
    data: *mut T,
    rows: usize,
    stride: usize,
    width: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: only `part` gives access, to data that does not overlap.
unsafe impl<T: Send> Sync for Strips<'_, T> {}
// SAFETY: a strip is a set of `&mut [T]`.
unsafe impl<T: Send> Send for Strip<'_, T> {}

impl<'a, T> Strips<'a, T> {
    /// Cuts the first `used` columns of `data: [rows, stride]` into strips of `width`; the last may be narrower.
    ///
    /// # Panics
    /// If the used columns are more than the stride, or a width is 0.
    pub(crate) fn new(data: &'a mut [T], stride: usize, used: usize, width: usize) -> Self {
        assert!(used <= stride && stride > 0 && width > 0, "{used} of {stride} columns in strips of {width}");
        Self { rows: data.len() / stride, data: data.as_mut_ptr(), stride, used, width, borrowed: PhantomData }
    }
}

// SAFETY: strips are disjoint ranges of columns inside the rows that are there.
unsafe impl<'a, T: Send> Split for Strips<'a, T> {
    type Part = Strip<'a, T>;

    fn parts(&self) -> usize {
        self.used.div_ceil(self.width)
    }

    unsafe fn part(&self, i: usize) -> Strip<'a, T> {
        let first = i * self.width;
        let width = self.width.min(self.used - first);
        // SAFETY: `first` is a column that exists, for `i < parts()`.
        let data = unsafe { self.data.add(first) };
        Strip { data, rows: self.rows, stride: self.stride, width, borrowed: PhantomData }
    }
}

impl<T> Strip<'_, T> {
    /// The strip's part of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row exists, the strip's columns lie inside it, and no other strip has them.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride), self.width) }
    }
}

/// A slice cut into chunks of one length; the last may be shorter.
pub(crate) struct Chunks<'a, T>(Strips<'a, T>);

impl<'a, T> Chunks<'a, T> {
    /// # Panics
    /// If the length is 0.
    pub(crate) fn new(data: &'a mut [T], len: usize) -> Self {
        let all = data.len();
        Self(Strips::new(data, all.max(1), all, len))
    }
}

// SAFETY: chunks are strips of a matrix of one row.
unsafe impl<'a, T: Send> Split for Chunks<'a, T> {
    type Part = &'a mut [T];

    fn parts(&self) -> usize {
        self.0.parts()
    }

    unsafe fn part(&self, i: usize) -> &'a mut [T] {
        // SAFETY: as the caller promises; the slice stays borrowed for `'a`.
        let strip = unsafe { self.0.part(i) };
        unsafe { std::slice::from_raw_parts_mut(strip.data, strip.width) }
    }
}

/// A matrix cut into vertical strips, and these into bands of rows.
pub(crate) struct Bands<'a, T> {
    strips: Strips<'a, T>,
    bounds: &'a [usize],
    across: bool,
}

impl<'a, T> Bands<'a, T> {
    /// Band `i` is the rows `bounds[i]..bounds[i + 1]`. Parts are in order of strips, then bands.
    ///
    /// # Panics
    /// If the bounds do not ascend, each above the last, within the rows of the matrix.
    pub(crate) fn new(strips: Strips<'a, T>, bounds: &'a [usize]) -> Self {
        let ascending = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = bounds.last().is_none_or(|last| *last <= strips.rows);
        assert!(ascending && inside, "bands at {bounds:?} of {} rows", strips.rows);
        Self { strips, bounds, across: false }
    }

    /// The same with the parts in order of bands, then strips.
    pub(crate) fn across(strips: Strips<'a, T>, bounds: &'a [usize]) -> Self {
        Self { across: true, ..Self::new(strips, bounds) }
    }

    fn bands(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }
}

// SAFETY: strips are disjoint, and so are the bands of one, whose bounds ascend inside the rows that are there.
unsafe impl<'a, T: Send> Split for Bands<'a, T> {
    type Part = Strip<'a, T>;

    fn parts(&self) -> usize {
        self.strips.parts() * self.bands()
    }

    unsafe fn part(&self, i: usize) -> Strip<'a, T> {
        let (strip, band) = match self.across {
            true => (i % self.strips.parts(), i / self.strips.parts()),
            false => (i / self.bands(), i % self.bands()),
        };
        let (first, end) = (self.bounds[band], self.bounds[band + 1]);
        // SAFETY: the strip exists for `i < parts()`, and so does its row `first`, which is less than `end`.
        unsafe {
            let strip = self.strips.part(strip);
            Strip { data: strip.data.add(first * strip.stride), rows: end - first, ..strip }
        }
    }
}

// SAFETY: the parts of each are disjoint.
unsafe impl<A: Split, B: Split> Split for (A, B) {
    type Part = (A::Part, B::Part);

    fn parts(&self) -> usize {
        self.0.parts().min(self.1.parts())
    }

    unsafe fn part(&self, i: usize) -> Self::Part {
        // SAFETY: `i` is less than both counts.
        unsafe { (self.0.part(i), self.1.part(i)) }
    }
}

// SAFETY: the parts of each are disjoint.
unsafe impl<A: Split, B: Split, C: Split> Split for (A, B, C) {
    type Part = (A::Part, B::Part, C::Part);

    fn parts(&self) -> usize {
        self.0.parts().min(self.1.parts()).min(self.2.parts())
    }

    unsafe fn part(&self, i: usize) -> Self::Part {
        // SAFETY: `i` is less than all counts.
        unsafe { (self.0.part(i), self.1.part(i), self.2.part(i)) }
    }
}

// SAFETY: as the split inside; where there is none, nothing is given out.
unsafe impl<A: Split> Split for Option<A> {
    type Part = Option<A::Part>;

    fn parts(&self) -> usize {
        self.as_ref().map_or(usize::MAX, Split::parts)
    }

    unsafe fn part(&self, i: usize) -> Self::Part {
        // SAFETY: `i` is less than the count of the split inside.
        self.as_ref().map(|split| unsafe { split.part(i) })
    }
}

/// Calls `run` with every part of `split`, on this thread.
pub(crate) fn each_here<S: Split>(split: S, mut run: impl FnMut(usize, S::Part)) {
    // SAFETY: every index below `parts()`, one after the other.
    (0..split.parts()).for_each(|i| run(i, unsafe { split.part(i) }));
}
