//! From a projection's rows to queries and cache: norm of heads, rotation, append.

use plimsoll_backend::Error;
use plimsoll_model::{Decoder, Gqa, Mixer, Pairing, Rope, RopeTable, Ropes};

use crate::batch::Batch;
use crate::cache::{LayerCache, Layout, Store, Stored};
use crate::element::Element;
use crate::pool::Pool;
use crate::shared::{Chunks, Strip, Strips, each_here};
use crate::simd::{Isa, Kernel, LANES, Lanes, Simd, sum_lanes};

/// Widest head.
const HEAD_DIM: usize = 512;
/// Values below which one thread appends them all: waking others takes longer.
const SERIAL: usize = 1 << 14;

/// Cosines and sines of a batch's tokens, `[T, dim / 2]` each.
pub(crate) struct Rotation {
    pairing: Pairing,
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// Refuses what there is no room for.
///
/// # Errors
/// [`Error::Unsupported`] for heads wider than 512.
pub(crate) fn check_heads(decoder: &Decoder) -> Result<(), Error> {
    for layer in &decoder.layers {
        let Mixer::Gqa(gqa) = &layer.mixer;
        if gqa.head_dim > HEAD_DIM {
            let what = format!("heads of {} values, more than {HEAD_DIM}", gqa.head_dim);
            return Err(Error::Unsupported { backend: crate::NAME, what });
        }
    }
    Ok(())
}

/// One rotation for each embedding.
pub(crate) fn rotations(ropes: &Ropes, positions: impl Iterator<Item = usize> + Clone) -> Vec<Rotation> {
    ropes.iter().map(|(rope, table)| Rotation::new(rope, table, positions.clone())).collect()
}

impl Rotation {
    fn new(rope: &Rope, table: &RopeTable, positions: impl Iterator<Item = usize>) -> Self {
        let (cos, sin) = positions.flat_map(|position| table.rotation(position)).unzip();
        Self { pairing: rope.pairing, half: rope.dim / 2, cos, sin }
    }

    /// Rotates one head of one row. Products are rounded before they are added, on every instruction set.
    #[inline(always)]
    fn apply(&self, row: usize, head: &mut [f32]) {
        let half = self.half;
        let (cos, sin) = (&self.cos[row * half..][..half], &self.sin[row * half..][..half]);
        let head = &mut head[..2 * half];
        match self.pairing {
            Pairing::Half => {
                let (a, b) = head.split_at_mut(half);
                for i in 0..half {
                    (a[i], b[i]) = (a[i] * cos[i] - b[i] * sin[i], b[i] * cos[i] + a[i] * sin[i]);
                }
            }
            Pairing::Adjacent => {
                for (i, pair) in head.chunks_exact_mut(2).enumerate() {
                    let (a, b) = (pair[0], pair[1]);
                    (pair[0], pair[1]) = (a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]);
                }
            }
        }
    }
}

/// Rows of queries, keys and values as a projection leaves them, `[T, stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Qkv<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    /// Where in a row the queries, the keys and the values begin.
    pub(crate) starts: [usize; 3],
}

/// What is done to the rows of one layer.
#[derive(Clone, Copy)]
pub(crate) struct Append<'a> {
    pub(crate) gqa: &'a Gqa,
    pub(crate) batch: &'a Batch,
    /// Weights of the norm on queries and keys, `[head_dim]`, with its epsilon.
    pub(crate) q_norm: Option<(&'a [f32], f32)>,
    pub(crate) k_norm: Option<(&'a [f32], f32)>,
    pub(crate) rotation: Option<&'a Rotation>,
    pub(crate) qkv: Qkv<'a>,
}

impl Append<'_> {
    /// Writes the queries to `q`, `[T, heads * head_dim]`, and keys and values to the cache.
    pub(crate) fn run(&self, pool: &Pool, isa: Isa, cache: &mut LayerCache, q: &mut [f32]) {
        let layout = cache.layout;
        match &mut cache.store {
            Store::F32(stored) => self.heads(pool, isa, layout, stored, q),
            Store::F16(stored) => self.heads(pool, isa, layout, stored, q),
            Store::Q8(stored) => self.heads(pool, isa, layout, stored, q),
        }
    }

    fn heads<E: Element>(&self, pool: &Pool, isa: Isa, layout: Layout, stored: &mut Stored<E>, q: &mut [f32]) {
        let (width, group) = (self.gqa.q_width(), self.gqa.q_width() / layout.heads);
        let (lines, scales) = (stored.lines.len() / layout.heads, stored.scales.len() / layout.heads);
        let scales = E::SCALED.then(|| Chunks::new(&mut stored.scales, scales));
        let split = (Chunks::new(&mut stored.lines, lines), scales, Strips::new(q, width, width, group));
        let run = |head, (lines, scales, q)| isa.run(Head { append: self, layout, head, lines, scales, q });
        if self.batch.slots.len() * width < SERIAL {
            each_here(split, run);
        } else {
            pool.each(split, run);
        }
    }
}

/// One kv head of all rows, with its group of query heads.
struct Head<'a, E> {
    append: &'a Append<'a>,
    layout: Layout,
    head: usize,
    lines: &'a mut [[E; LANES]],
    scales: Option<&'a mut [f32]>,
    q: Strip<'a, f32>,
}

impl<E: Element> Kernel for Head<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Append { batch, q_norm, k_norm, qkv, .. } = *self.append;
        let (dim, lines) = (self.layout.dim, self.layout.row());
        let [q, k, v] = qkv.starts;
        let mut buffer = [[0.0; LANES]; HEAD_DIM / LANES];
        for (row, slot) in batch.slots.iter().enumerate() {
            let values = &qkv.values[row * qkv.stride..][..qkv.stride];
            let out = self.q.row(row);
            let first = q + self.head * out.len();
            for (i, out) in out.chunks_exact_mut(dim).enumerate() {
                self.append.finish(s, row, &values[first + i * dim..][..dim], q_norm, &mut buffer[..lines]);
                out.copy_from_slice(&buffer.as_flattened()[..dim]);
            }
            self.append.finish(s, row, &values[k + self.head * dim..][..dim], k_norm, &mut buffer[..lines]);
            self.store_key(s, *slot, &buffer[..lines]);
            buffer.as_flattened_mut()[..dim].copy_from_slice(&values[v + self.head * dim..][..dim]);
            self.store_value(s, *slot, &buffer[..lines]);
        }
    }
}

impl Append<'_> {
    /// Norm and rotation of one head of one row, into a buffer whose padding is zero.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, row: usize, head: &[f32], norm: Option<(&[f32], f32)>, to: &mut [Lanes]) {
        to.as_flattened_mut()[..head.len()].copy_from_slice(head);
        if let Some((weight, eps)) = norm {
            let mut squares = s.splat(0.0);
            for lanes in to.iter() {
                let x = s.load(lanes);
                squares = s.fma(x, x, squares);
            }
            let scale = 1.0 / (sum_lanes(s, squares) / head.len() as f32 + eps).sqrt();
            for (x, weight) in to.as_flattened_mut().iter_mut().zip(weight) {
                *x = *x * scale * weight;
            }
        }
        if let Some(rotation) = self.rotation {
            rotation.apply(row, to.as_flattened_mut());
        }
    }
}

impl<E: Element> Head<'_, E> {
    #[inline(always)]
    fn store_key<S: Simd>(&mut self, s: S, slot: usize, key: &[Lanes]) {
        let (place, dim) = (self.layout.place(slot), self.layout.dim);
        let mut encoded = [[E::default(); LANES]; HEAD_DIM / LANES];
        let scale = E::encode(s, key, &mut encoded);
        let tile = &mut self.lines[place.keys..][..dim];
        for (line, value) in tile.iter_mut().zip(encoded.as_flattened()) {
            line[place.lane] = *value;
        }
        if let Some(scales) = &mut self.scales {
            scales[place.key_scales + place.lane] = scale;
        }
    }

    #[inline(always)]
    fn store_value<S: Simd>(&mut self, s: S, slot: usize, value: &[Lanes]) {
        let (place, row) = (self.layout.place(slot), self.layout.row());
        let scale = E::encode(s, value, &mut self.lines[place.values..][..row]);
        if let Some(scales) = &mut self.scales {
            scales[place.value_scale] = scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotate(rope: Rope, position: usize, head: &[f32]) -> Vec<f32> {
        let mut head = head.to_vec();
        // The rotation of row 1.
        Rotation::new(&rope, &rope.table(), [3, position].into_iter()).apply(1, &mut head);
        head
    }

    #[test]
    fn pairs_are_rotated_by_their_angles() {
        let head = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let rope = |dim, pairing| Rope { dim, pairing, theta: 100.0, scaling: plimsoll_model::Scaling::None };
        // With two pairs the frequencies are 1 and 1 / 10.
        let angles = [7.0_f64, 0.7];
        for (pairing, pairs) in [(Pairing::Half, [(0, 2), (1, 3)]), (Pairing::Adjacent, [(0, 1), (2, 3)])] {
            let found = rotate(rope(4, pairing), 7, &head);
            assert_eq!(found[4..], head[4..], "dimensions beyond the rotated ones are left alone");
            for ((a, b), angle) in pairs.into_iter().zip(angles) {
                let (x, y) = (f64::from(head[a]), f64::from(head[b]));
                let (cos, sin) = (angle.cos(), angle.sin());
                let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 1e-5;
                assert!(
                    near(found[a], x * cos - y * sin) && near(found[b], y * cos + x * sin),
                    "{pairing:?}: {found:?}"
                );
            }
        }
    }
}
