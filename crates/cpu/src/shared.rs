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

// SAFETY: as the parts of what is there.
unsafe impl<A: Split> Split for Option<A> {
    type Part = Option<A::Part>;

    /// Nothing can be cut into any number of parts.
    fn parts(&self) -> usize {
        self.as_ref().map_or(usize::MAX, A::parts)
    }

    unsafe fn part(&self, i: usize) -> Self::Part {
        // SAFETY: as the caller promises.
        self.as_ref().map(|split| unsafe { split.part(i) })
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
