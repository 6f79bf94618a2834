//! A plan as tensors.

use candle_core::{Device, Result, Tensor};
use plimsoll_backend::{Plan, Sequence};
use plimsoll_model::Span;

use crate::Weights;

/// A plan on the device.
pub struct Batch {
    /// `[T]` u32.
    pub(crate) tokens: Tensor,
    /// `[R]` u32.
    pub(crate) outputs: Tensor,
    /// Cosines and sines of each of the model's ropes, `[T, 1, dim / 2]`.
    pub(crate) rotations: Vec<(Tensor, Tensor)>,
    /// What each sequence sees, for each of the model's spans.
    pub(crate) views: Vec<Vec<View>>,
    /// Where the new keys and values go: `(row, slot, length)`.
    appended: Vec<(usize, usize, usize)>,
}

/// The keys one sequence sees in this step.
pub(crate) struct View {
    /// Its first row in the batch, and how many.
    pub(crate) row: usize,
    pub(crate) rows: usize,
    /// Cache slots from the first visible key on, `[L]` u32.
    pub(crate) slots: Tensor,
    /// 0 where a key is visible, minus infinity where not, `[rows, L]`.
    pub(crate) mask: Tensor,
}

impl Batch {
    pub(crate) fn new(model: &Weights, plan: &Plan, block: usize, device: &Device) -> Result<Self> {
        let positions: Vec<usize> = plan.sequences.iter().flat_map(|s| s.start..s.end()).collect();
        let rotation = |table: &plimsoll_model::RopeTable| {
            let (cos, sin): (Vec<f32>, Vec<f32>) = positions.iter().flat_map(|p| table.rotation(*p)).unzip();
            let shape = (positions.len(), 1, table.inv_freq.len());
            Ok((Tensor::from_vec(cos, shape, device)?, Tensor::from_vec(sin, shape, device)?))
        };
        let rows: Vec<usize> = plan
            .sequences
            .iter()
            .scan(0, |next, s| {
                *next += s.len;
                Some(*next - s.len)
            })
            .collect();
        let views = |span: &Span| {
            let views = plan.sequences.iter().zip(&rows);
            views.map(|(sequence, row)| View::new(sequence, *row, *span, block, device)).collect()
        };
        let appended = plan.sequences.iter().zip(&rows);
        let appended = appended.flat_map(|(s, row)| s.appended(block).map(move |(i, slot, len)| (row + i, slot, len)));
        Ok(Self {
            tokens: Tensor::new(plan.tokens.as_slice(), device)?,
            outputs: Tensor::new(plan.outputs.as_slice(), device)?,
            rotations: model.ropes.iter().map(rotation).collect::<Result<_>>()?,
            views: model.spans.iter().map(views).collect::<Result<_>>()?,
            appended: appended.collect(),
        })
    }

    /// Writes new rows, `[T, kv width]`, into a cache, `[slots, kv width]`.
    pub(crate) fn append(&self, rows: &Tensor, cache: &Tensor) -> Result<()> {
        self.appended.iter().try_for_each(|(row, slot, len)| cache.slice_set(&rows.narrow(0, *row, *len)?, 0, *slot))
    }
}

impl View {
    fn new(sequence: &Sequence, row: usize, span: Span, block: usize, device: &Device) -> Result<Self> {
        let first_key = |position: usize| match span {
            Span::Full => 0,
            Span::Window(window) => (position + 1).saturating_sub(window),
        };
        let keys = first_key(sequence.start)..sequence.end();
        let slots: Vec<u32> = keys.clone().map(|p| sequence.slot(p, block) as u32).collect();
        let visible = |query: usize, key: usize| (first_key(query)..=query).contains(&key);
        let queries = sequence.start..sequence.end();
        let mask = queries
            .flat_map(|query| keys.clone().map(move |key| if visible(query, key) { 0.0 } else { f32::NEG_INFINITY }));
        let mask: Vec<f32> = mask.collect();
        Ok(Self {
            row,
            rows: sequence.len,
            slots: Tensor::new(slots.as_slice(), device)?,
            mask: Tensor::from_vec(mask, (sequence.len, keys.len()), device)?,
        })
    }
}
