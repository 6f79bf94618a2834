//! The definition of every op: plain loops over f32 with sums in f64, the reference of the suite.

use std::collections::HashMap;
use std::ops::Range;

use plimsoll_model::{Decoder, Gqa, Mixer, Mlp, Norm, Pairing, Part, QkNorm, Residual, RopeTable, Span, TensorId};

use crate::{Backend, CacheShape, Draw, Error, Half, Plan, Projection, TensorSource, Top};

/// The naive backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Naive;

/// Dequantized weights.
pub struct Weights {
    decoder: Decoder,
    tensors: HashMap<TensorId, Vec<f32>>,
}

/// Keys and values of one layer, `[slots, kv_heads * head_dim]` each.
struct LayerCache {
    k: Vec<f32>,
    v: Vec<f32>,
}

/// Keys and values of all layers.
pub struct Cache {
    shape: CacheShape,
    layers: Vec<LayerCache>,
}

impl Weights {
    fn get(&self, id: TensorId) -> Option<&[f32]> {
        self.tensors.get(&id).map(Vec::as_slice)
    }

    /// `W x + b` with `W` stored `[out, in]`.
    fn linear(&self, weight: TensorId, bias: TensorId, x: &[f32]) -> Vec<f32> {
        let weight = self.get(weight).unwrap_or_default();
        let mut out: Vec<f32> = weight.chunks_exact(x.len()).map(|row| dot(row, x)).collect();
        for (out, bias) in out.iter_mut().zip(self.get(bias).unwrap_or_default()) {
            *out += bias;
        }
        out
    }

    fn norm(&self, norm: Norm, weight: TensorId, x: &[f32]) -> Vec<f32> {
        let Some(weight) = self.get(weight) else { return x.to_vec() };
        let Norm::Rms { eps } = norm;
        let scale = 1.0 / (dot(x, x) as f64 / x.len() as f64 + eps as f64).sqrt();
        x.iter().zip(weight).map(|(x, w)| (*x as f64 * scale) as f32 * w).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum::<f64>() as f32
}

fn rotate(head: &mut [f32], table: &RopeTable, pairing: Pairing, position: usize) {
    let half = table.inv_freq.len();
    for (i, (cos, sin)) in table.rotation(position).enumerate() {
        let (a, b) = match pairing {
            Pairing::Half => (i, i + half),
            Pairing::Adjacent => (2 * i, 2 * i + 1),
        };
        (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[b] * cos + head[a] * sin);
    }
}

/// First key position the query at `position` sees.
pub(crate) fn first_key(span: Span, position: usize) -> usize {
    match span {
        Span::Full => 0,
        Span::Window(window) => (position + 1).saturating_sub(window),
    }
}

/// Every token of a plan: `(row, position, its sequence)`.
fn rows(plan: &Plan) -> impl Iterator<Item = (usize, usize, &crate::Sequence)> {
    let all = plan.sequences.iter().flat_map(|s| (s.start..s.end()).map(move |position| (position, s)));
    all.enumerate().map(|(row, (position, sequence))| (row, position, sequence))
}

fn gqa(model: &Weights, layer: usize) -> &Gqa {
    let Mixer::Gqa(gqa) = &model.decoder.layers[layer].mixer;
    gqa
}

/// The largest `count` logits of a row: what [`Backend::find_top`] finds.
pub fn top(logits: &[f32], draw: Draw, count: usize) -> Top {
    let mut tokens: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    let not_finite = tokens.iter().copied().find(|(_, logit)| !logit.is_finite());
    tokens.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
    let largest = tokens.first().map_or(0.0, |(_, logit)| f64::from(*logit));
    let sum = |logits: &[f32], temperature: f32| -> f64 {
        logits.iter().map(|logit| ((f64::from(*logit) - largest) / f64::from(temperature)).exp()).sum()
    };
    let drawn = &logits[..logits.len().min(draw.vocab as usize)];
    let (sum, weight) = (sum(logits, 1.0), sum(drawn, draw.temperature));
    let others = tokens.len().saturating_sub(count);
    tokens.truncate(count);
    Top { tokens, others, sum, weight, not_finite }
}

impl Backend for Naive {
    type Model = Weights;
    type Cache = Cache;
    type Batch = Plan;
    type Buffer = Vec<f32>;

    fn name(&self) -> &'static str {
        "naive"
    }

    fn load(&self, decoder: &Decoder, source: &dyn TensorSource) -> Result<Weights, Error> {
        let ids = decoder.tensors().into_iter().map(|(id, _)| id);
        let tensors = ids.map(|id| Ok((id, source.values(id)?))).collect::<Result<_, Error>>()?;
        Ok(Weights { decoder: decoder.clone(), tensors })
    }

    fn block_bytes(&self, decoder: &Decoder, block: usize) -> usize {
        decoder.kv_values_per_token() * block * size_of::<f32>()
    }

    fn cache(&self, decoder: &Decoder, shape: CacheShape) -> Result<Cache, Error> {
        let layer = |layer: &plimsoll_model::Layer| {
            let Mixer::Gqa(gqa) = &layer.mixer;
            let zeros = vec![0.0; shape.blocks * shape.block * gqa.kv_width()];
            LayerCache { k: zeros.clone(), v: zeros }
        };
        Ok(Cache { shape, layers: decoder.layers.iter().map(layer).collect() })
    }

    fn buffer(&self, rows: usize, width: usize) -> Result<Vec<f32>, Error> {
        Ok(vec![0.0; rows * width])
    }

    fn batch(&self, _: &Weights, _: usize, _: usize, _: CacheShape) -> Result<Plan, Error> {
        Ok(Plan::default())
    }

    fn upload(&self, _: &Weights, plan: &Plan, _: CacheShape, batch: &mut Plan) -> Result<(), Error> {
        batch.clone_from(plan);
        Ok(())
    }

    fn embed(&self, model: &Weights, batch: &Plan, x: &mut Vec<f32>) -> Result<(), Error> {
        let table = model.get(Part::Embedding.global()).unwrap_or_default();
        let width = model.decoder.width;
        for (token, x) in batch.tokens.iter().zip(x.chunks_exact_mut(width)) {
            let row = &table[*token as usize * width..][..width];
            x.iter_mut().zip(row).for_each(|(x, row)| *x = row * model.decoder.embedding_scale);
        }
        Ok(())
    }

    fn attention_inputs(
        &self,
        model: &Weights,
        layer: usize,
        batch: &Plan,
        x: &Vec<f32>,
        cache: &mut Cache,
        q: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let (gqa, norm, width) = (gqa(model, layer), model.decoder.layers[layer].norm, model.decoder.width);
        let table = gqa.rope.as_ref().map(|rope| (rope.table(), rope.pairing));
        let finish = |mut values: Vec<f32>, weight: Part, position: usize| {
            for head in values.chunks_exact_mut(gqa.head_dim) {
                if gqa.qk_norm == QkNorm::Head {
                    head.copy_from_slice(&model.norm(norm, weight.of(layer), head));
                }
                if let Some((table, pairing)) = &table {
                    rotate(head, table, *pairing, position);
                }
            }
            values
        };
        for (row, position, sequence) in rows(batch) {
            let x = model.norm(norm, Part::MixerNorm.of(layer), &x[row * width..][..width]);
            let project = |part: Part, bias: Part| model.linear(part.of(layer), bias.of(layer), &x);
            let query = finish(project(Part::Q, Part::QBias), Part::QNorm, position);
            q[row * gqa.q_width()..][..gqa.q_width()].copy_from_slice(&query);
            let slot = sequence.slot(position, cache.shape.block);
            let range = slot * gqa.kv_width()..(slot + 1) * gqa.kv_width();
            let kv = &mut cache.layers[layer];
            kv.k[range.clone()].copy_from_slice(&finish(project(Part::K, Part::KBias), Part::KNorm, position));
            kv.v[range].copy_from_slice(&project(Part::V, Part::VBias));
        }
        Ok(())
    }

    fn attend(
        &self,
        model: &Weights,
        layer: usize,
        batch: &Plan,
        cache: &Cache,
        q: &Vec<f32>,
        y: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let (gqa, kv) = (gqa(model, layer), &cache.layers[layer]);
        let (dim, group) = (gqa.head_dim, gqa.heads / gqa.kv_heads);
        for (row, position, sequence) in rows(batch) {
            for head in 0..gqa.heads {
                let q = &q[row * gqa.q_width() + head * dim..][..dim];
                let slot = |p: usize| sequence.slot(p, cache.shape.block);
                let at = |p: usize| slot(p) * gqa.kv_width() + head / group * dim;
                let keys = first_key(gqa.span, position)..position + 1;
                let scores: Vec<f32> = keys.clone().map(|p| dot(q, &kv.k[at(p)..][..dim]) * gqa.scale).collect();
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let weights: Vec<f64> = scores.iter().map(|s| ((s - most) as f64).exp()).collect();
                let total: f64 = weights.iter().sum();
                let y = &mut y[row * gqa.q_width() + head * dim..][..dim];
                for (d, y) in y.iter_mut().enumerate() {
                    let sum: f64 = keys.clone().zip(&weights).map(|(p, w)| w * kv.v[at(p) + d] as f64).sum();
                    *y = (sum / total) as f32;
                }
            }
        }
        Ok(())
    }

    fn project_add(
        &self,
        model: &Weights,
        projection: Projection,
        batch: &Plan,
        y: &Vec<f32>,
        x: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let Projection { layer, half } = projection;
        let description = &model.decoder.layers[layer];
        let (weight, bias, post) = match half {
            Half::Mixer => (Part::Out, Part::OutBias, Part::MixerPostNorm),
            Half::Mlp => (Part::Down, Part::DownBias, Part::MlpPostNorm),
        };
        let width = y_width(model, projection);
        let rows = y.chunks_exact(width).zip(x.chunks_exact_mut(model.decoder.width)).take(batch.tokens.len());
        for (y, x) in rows {
            let mut sum = model.linear(weight.of(layer), bias.of(layer), y);
            if description.residual == Residual::Sandwich {
                sum = model.norm(description.norm, post.of(layer), &sum);
            }
            x.iter_mut().zip(sum).for_each(|(x, sum)| *x += sum);
        }
        Ok(())
    }

    fn mlp_inputs(
        &self,
        model: &Weights,
        layer: usize,
        batch: &Plan,
        x: &Vec<f32>,
        h: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let Mlp::Dense(ffn) = &model.decoder.layers[layer].mlp;
        let rows = x.chunks_exact(model.decoder.width).zip(h.chunks_exact_mut(ffn.width));
        for (x, h) in rows.take(batch.tokens.len()) {
            let x = model.norm(model.decoder.layers[layer].norm, Part::MlpNorm.of(layer), x);
            let gate = model.linear(Part::Gate.of(layer), Part::GateBias.of(layer), &x);
            let up = model.linear(Part::Up.of(layer), Part::UpBias.of(layer), &x);
            h.iter_mut().zip(gate.iter().zip(up)).for_each(|(h, (gate, up))| *h = gate / (1.0 + (-gate).exp()) * up);
        }
        Ok(())
    }

    fn logits(&self, model: &Weights, batch: &Plan, x: &Vec<f32>, out: &mut Vec<f32>) -> Result<(), Error> {
        let Decoder { width, vocab, norm, tied_embeddings, logit_scale, logit_softcap, .. } = model.decoder;
        let head = if tied_embeddings { Part::Embedding } else { Part::Head }.global();
        for (row, out) in batch.outputs.iter().zip(out.chunks_exact_mut(vocab)) {
            let x = model.norm(norm, Part::FinalNorm.global(), &x[*row as usize * width..][..width]);
            let logits = model.linear(head, Part::OutBias.global(), &x).into_iter().map(|logit| logit * logit_scale);
            let capped = logits.map(|logit| logit_softcap.map_or(logit, |cap| cap * (logit / cap).tanh()));
            out.iter_mut().zip(capped).for_each(|(out, logit)| *out = logit);
        }
        Ok(())
    }

    fn copy_blocks(&self, cache: &mut Cache, pairs: &[(u32, u32)]) -> Result<(), Error> {
        for layer in &mut cache.layers {
            for side in [&mut layer.k, &mut layer.v] {
                let block = side.len() / cache.shape.blocks;
                for (from, to) in pairs {
                    let from = *from as usize * block;
                    side.copy_within(from..from + block, *to as usize * block);
                }
            }
        }
        Ok(())
    }

    fn read(&self, buffer: &Vec<f32>, values: Range<usize>) -> Result<Vec<f32>, Error> {
        Ok(buffer[values].to_vec())
    }

    fn write(&self, values: &[f32], buffer: &mut Vec<f32>) -> Result<(), Error> {
        buffer[..values.len()].copy_from_slice(values);
        Ok(())
    }
}

/// Width of what a projection reads.
fn y_width(model: &Weights, projection: Projection) -> usize {
    let layer = &model.decoder.layers[projection.layer];
    match (projection.half, &layer.mixer, &layer.mlp) {
        (Half::Mixer, Mixer::Gqa(gqa), _) => gqa.q_width(),
        (Half::Mlp, _, Mlp::Dense(ffn)) => ffn.width,
    }
}
