//! Strided matrix product over the `gemm` crate.

/// A strided view of a matrix: element `(i, j)` is `data[i * row + j * col]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row: usize,
    col: usize,
}

impl<'a> View<'a> {
    /// `rows` rows of `cols` consecutive values, `stride` apart.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        let view = Self { data, rows, cols, row: stride, col: 1 };
        assert!(view.last() < data.len(), "{rows}x{cols} stride {stride} in {}", data.len());
        view
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row: self.col, col: self.row, ..self }
    }

    fn last(&self) -> usize {
        assert!(self.rows > 0 && self.cols > 0);
        (self.rows - 1) * self.row + (self.cols - 1) * self.col
    }
}

/// `c = keep * c + scale * a b`, where row `i` of `c` starts at `i * stride` and `keep` is 0 or 1.
pub fn matmul(c: &mut [f32], stride: usize, keep: bool, scale: f32, a: View<'_>, b: View<'_>) {
    assert_eq!(a.cols, b.rows);
    let _ = View::new(c, a.rows, b.cols, stride);
    // SAFETY: `View::new` proved that the last element of each of the three matrices lies inside its slice, strides
    // are not negative, and `c` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            c.as_mut_ptr(),
            1,
            stride as isize,
            keep,
            a.data.as_ptr(),
            a.col as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.col as isize,
            b.row as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
