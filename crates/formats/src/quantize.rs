//! Quantizing a tensor: its rows shared out to threads.

use std::thread;

use crate::blocks::{self, BlockType};
use crate::{Error, TensorView};

/// The largest magnitude that is quantized: scales are f16, and no published weight comes near.
const MAX: f32 = 65504.0;

/// Encodes a tensor of F32, F16 or BF16 on `threads` threads; the bytes do not depend on their number.
///
/// # Errors
/// [`Error::Unsupported`] for a tensor that is quantized already; [`Error::Malformed`] for values that are not finite
/// or beyond f16; [`Error::NoEncoder`]; [`Error::Length`] if the rows are no whole number of blocks.
pub fn quantize(view: &TensorView<'_>, block: &'static BlockType, threads: usize) -> Result<Vec<u8>, Error> {
    if ![&blocks::F32, &blocks::F16, &blocks::BF16].contains(&view.block) {
        let field = format_args!("tensor `{}`", view.name);
        let expected = "F32, F16 or BF16: only full precision can be quantized";
        return Err(Error::unsupported("checkpoint", field, view.block, expected));
    }
    let bytes = view.block.tensor_bytes(&view.shape)?;
    if view.data.len() != bytes {
        return Err(Error::length(format_args!("data of tensor `{}` in bytes", view.name), view.data.len(), bytes));
    }
    let mut out = vec![0; block.tensor_bytes(&view.shape)?];
    if out.is_empty() {
        return Ok(out);
    }
    let len = view.shape.last().copied().unwrap_or(1);
    let (from, to) = (view.block.row_bytes(len)?, block.row_bytes(len)?);
    let share = (bytes / from).div_ceil(threads.max(1));
    let parts = view.data.chunks(share * from).zip(out.chunks_mut(share * to));
    thread::scope(|scope| {
        let workers: Vec<_> = parts.map(|(data, out)| scope.spawn(|| rows(view, len, data, block, out))).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        // The first error in the order of the rows, whoever found it.
        workers.into_iter().map(join).collect::<Vec<_>>().into_iter().collect::<Result<(), Error>>()
    })?;
    Ok(out)
}

/// Encodes some rows of `len` values.
fn rows(view: &TensorView<'_>, len: usize, data: &[u8], block: &BlockType, out: &mut [u8]) -> Result<(), Error> {
    let mut values = vec![0.0; len];
    let (from, to) = (view.block.row_bytes(len)?, block.row_bytes(len)?);
    for (data, out) in data.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
        view.block.decode(data, &mut values)?;
        if let Some(bad) = values.iter().find(|x| x.is_nan() || x.abs() > MAX) {
            let field = format_args!("tensor `{}`", view.name);
            return Err(Error::malformed("checkpoint", field, bad, format_args!("values of at most {MAX}")));
        }
        block.encode(&values, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'a>(block: &'static BlockType, shape: &[usize], data: &'a [u8]) -> TensorView<'a> {
        TensorView { name: "t", block, shape: shape.to_vec(), data: data.into() }
    }

    fn floats(count: usize) -> Vec<u8> {
        (0..count).flat_map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).to_le_bytes()).collect()
    }

    #[test]
    fn threads_do_not_change_the_bytes() {
        let data = floats(7 * 512);
        let view = view(&blocks::F32, &[7, 512], &data);
        for block in [&blocks::Q4_K, &blocks::Q6_K, &blocks::Q8_0, &blocks::Q4_0, &blocks::F16, &blocks::F32] {
            let one = quantize(&view, block, 1).unwrap();
            let mut whole = vec![0; one.len()];
            block.encode(&view.to_f32().unwrap(), &mut whole).unwrap();
            assert_eq!(one, whole, "{block}");
            for threads in [0, 2, 3, 7, 64] {
                assert_eq!(quantize(&view, block, threads).unwrap(), one, "{block} on {threads}");
            }
        }
        assert_eq!(quantize(&view, &blocks::F32, 2).unwrap(), data);
    }

    #[test]
    fn shapes_without_rows() {
        assert_eq!(quantize(&view(&blocks::F32, &[0, 32], &[]), &blocks::Q8_0, 2).unwrap(), [0u8; 0]);
        assert_eq!(quantize(&view(&blocks::F32, &[4, 0], &[]), &blocks::Q8_0, 2).unwrap(), [0u8; 0]);
        let half = half::bf16::from_f32(1.5).to_le_bytes();
        assert_eq!(quantize(&view(&blocks::BF16, &[], &half), &blocks::F32, 2).unwrap(), 1.5f32.to_le_bytes());
    }

    #[test]
    fn bad_tensors_are_named() {
        let mut data = floats(4 * 32);
        let cases: [(TensorView<'_>, &'static BlockType, &str); 4] = [
            (
                view(&blocks::Q8_0, &[1, 32], &data[..34]),
                &blocks::Q4_0,
                "tensor `t`: Q8_0 is not supported, expected F32",
            ),
            (
                view(&blocks::F32, &[4, 32], &data[4..]),
                &blocks::Q8_0,
                "data of tensor `t` in bytes: found 508, expected 512",
            ),
            (view(&blocks::F32, &[4, 32], &data), &blocks::Q4_K, "Q4_K row: found 32, expected a multiple of 256"),
            (view(&blocks::F32, &[4, 32], &data), &blocks::Q5_0, "quantizing to Q5_0 is not supported"),
        ];
        for (view, block, expected) in cases {
            let message = quantize(&view, block, 2).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        for (bad, shown) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf"), (1e9, "1000000000")] {
            data[4 * 70..4 * 71].copy_from_slice(&bad.to_le_bytes());
            let message = quantize(&view(&blocks::F32, &[4, 32], &data), &blocks::Q8_0, 3).unwrap_err().to_string();
            assert_eq!(message, format!("checkpoint: tensor `t`: found {shown}, expected values of at most 65504"));
        }
    }
}
