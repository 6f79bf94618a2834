//! A tensor in a mapped file, or made from one.

use std::borrow::Cow;
use std::ops::Range;

use crate::Error;
use crate::blocks::BlockType;

/// A tensor's bytes with their meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorView<'a> {
    /// Name in the container.
    pub name: &'a str,
    /// Type of its blocks.
    pub block: &'static BlockType,
    /// Slowest dimension first; the last one is the row.
    pub shape: Vec<usize>,
    /// Blocks, row by row; of no alignment. Borrowed from a mapped file, owned where they were made while reading.
    pub data: Cow<'a, [u8]>,
}

impl<'a> TensorView<'a> {
    /// Number of values.
    pub fn len(&self) -> usize {
        // Beside a dimension of 0 the others may be too large to multiply.
        if self.is_empty() { 0 } else { self.shape.iter().product() }
    }

    /// Whether a dimension is 0.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// A run of indices of the first dimension: values of an unquantized vector, rows of a matrix, experts of a stack.
    ///
    /// # Errors
    /// [`Error::Length`] for scalars and quantized vectors, and for a range beyond the first dimension.
    pub fn rows(&self, range: Range<usize>) -> Result<TensorView<'a>, Error> {
        let what = || format!("rows {range:?} of tensor `{}`", self.name);
        let (&count, inner) = match self.shape.split_first() {
            Some((count, inner)) if !inner.is_empty() || self.block.values == 1 => (count, inner),
            _ => return Err(Error::length(what(), self.shape.len(), "at least 2 dimensions")),
        };
        let stride = self.block.tensor_bytes(inner)?;
        let bytes = range.start.checked_mul(stride).zip(range.end.checked_mul(stride));
        let data = bytes.and_then(|(from, to)| match &self.data {
            Cow::Borrowed(data) => data.get(from..to).map(Cow::Borrowed),
            Cow::Owned(data) => data.get(from..to).map(|data| Cow::Owned(data.to_vec())),
        });
        match data {
            Some(data) if range.end <= count => {
                let shape = std::iter::once(range.len()).chain(inner.iter().copied()).collect();
                Ok(TensorView { name: self.name, block: self.block, shape, data })
            }
            _ => Err(Error::length(what(), range.end, format_args!("a range within {count}"))),
        }
    }

    /// All values, decoded.
    ///
    /// # Errors
    /// [`Error::Length`] if `data` does not fit the shape, which no tensor of a checked file does.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        let bytes = self.block.tensor_bytes(&self.shape)?;
        if self.data.len() != bytes {
            return Err(Error::length(format_args!("data of tensor `{}` in bytes", self.name), self.data.len(), bytes));
        }
        let mut values = vec![0.0; self.len()];
        self.block.decode(&self.data, &mut values)?;
        Ok(values)
    }
}
