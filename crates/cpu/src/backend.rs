//! The ops, phase by phase.

use std::cell::RefCell;
use std::ops::Range;

use plimsoll_backend::{Backend, CacheShape, Error, Half, Plan, Projection, TensorSource};
use plimsoll_model::{Decoder, Mixer};

use crate::activations::{Activations, Rounding};
use crate::attention::{self, Attention};
use crate::batch::Batch;
use crate::cache::{self, Cache};
use crate::memory::Memory;
use crate::norm::SiluMul;
use crate::options::Options;
use crate::pool::Pool;
use crate::product::{COLUMNS, FEW, ROWS, bands, product};
use crate::rope::{Append, Qkv};
use crate::shared::{Bands, Chunks, Split, Strips};
use crate::simd::{Isa, LANES, Lanes};
use crate::weights::{Linear, NormWeight, Weights};
use crate::{KvType, NAME};

/// The backend: an instruction set, threads of its own, and room for what ops compute on the way.
pub struct Cpu {
    pub(crate) isa: Isa,
    kv: KvType,
    pub(crate) pool: Pool,
    scratch: RefCell<Scratch>,
}

#[derive(Default)]
struct Scratch {
    activations: Activations,
    /// Rows of a product that is not added to anything at once.
    wide: Vec<f32>,
    attention: attention::Scratch,
}

/// Results of a unit of work: room for few columns where there are few, since it is cleared.
type Results<const N: usize> = [[Lanes; 2]; N];

impl Cpu {
    /// # Errors
    /// [`Error::Unsupported`] for a tier or a core that this machine lacks; [`Error::Device`] if the system gives no thread.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let isa = options.isa()?;
        let pool = Pool::new(options.threads(), &options.cores);
        let pool = pool.map_err(|e| Error::Device { backend: NAME, reason: format!("starting threads: {e}") })?;
        Ok(Self { isa, kv: options.kv, pool, scratch: RefCell::default() })
    }

    /// Fills the activations for matrices that read the same rows; `values` says where a row is, or writes it.
    fn activate<'a>(
        &self,
        activations: &mut Activations,
        readers: &[&Linear],
        rows: usize,
        values: impl Fn(usize, &mut [f32]) -> Option<&'a [f32]> + Sync,
    ) {
        let mut roundings: Vec<Rounding> = readers.iter().map(|linear| linear.matrix.rounding()).collect();
        roundings.dedup();
        activations.resize(rows, readers[0].matrix.width, &roundings);
        activations.fill(self.isa, &self.pool, &roundings, values);
    }

    /// Products with all rows of the activations, a strip of 32 results at a time: `write(results, to)`.
    fn products(
        &self,
        model: &Weights,
        linears: &[&Linear],
        activations: &Activations,
        (out, stride): (&mut [f32], usize),
        write: impl Fn(&[f32], &mut [f32]) + Sync,
    ) {
        match activations.rows {
            ..=FEW => self.products_by::<FEW>(model, linears, activations, (out, stride), write),
            _ => self.products_by::<COLUMNS>(model, linears, activations, (out, stride), write),
        }
    }

    fn products_by<const N: usize>(
        &self,
        model: &Weights,
        linears: &[&Linear],
        activations: &Activations,
        (out, stride): (&mut [f32], usize),
        write: impl Fn(&[f32], &mut [f32]) + Sync,
    ) {
        let (isa, units) = (self.isa, |linear: &Linear| linear.matrix.rows.div_ceil(ROWS));
        let last = linears[linears.len() - 1];
        let used = linears.iter().map(|linear| ROWS * units(linear)).sum::<usize>();
        let used = used - ROWS * units(last) + last.matrix.rows;
        let bounds = bands(activations, N);
        let strips = Strips::new(&mut out[..activations.rows * stride], stride, used, ROWS);
        let count = strips.parts();
        self.pool.each(Bands::across(strips, &bounds), |part, mut out| {
            let (mut unit, mut linear) = (part % count, linears[0]);
            for next in &linears[1..] {
                if unit >= units(linear) {
                    (unit, linear) = (unit - units(linear), next);
                }
            }
            let mut results: Results<N> = [[[0.0; LANES]; 2]; N];
            let (first, end) = (bounds[part / count], bounds[part / count + 1]);
            affine(isa, &model.memory, linear, unit, (activations, first), &mut results[..end - first]);
            for (i, results) in results.iter().enumerate().take(end - first) {
                let to = out.row(i);
                write(&results.as_flattened()[..to.len()], to);
            }
        });
    }

    /// `h = silu(gate) * up`, `[rows, inner width]`.
    fn gated<const N: usize>(
        &self,
        model: &Weights,
        [gate, up]: [&Linear; 2],
        activations: &Activations,
        h: &mut [f32],
    ) {
        let (isa, rows, inner) = (self.isa, activations.rows, gate.matrix.rows);
        let bounds = bands(activations, N);
        let strips = Strips::new(&mut h[..rows * inner], inner, inner, ROWS);
        let count = strips.parts();
        self.pool.each(Bands::across(strips, &bounds), |part, mut h| {
            let mut results: [Results<N>; 2] = [[[[0.0; LANES]; 2]; N]; 2];
            let (unit, first, end) = (part % count, bounds[part / count], bounds[part / count + 1]);
            for (linear, results) in [gate, up].into_iter().zip(&mut results) {
                affine(isa, &model.memory, linear, unit, (activations, first), &mut results[..end - first]);
            }
            for (i, (gate, up)) in results[0].iter().zip(&results[1]).enumerate().take(end - first) {
                isa.run(SiluMul { gate, up, to: h.row(i) });
            }
        });
    }
}

/// `W a + b` of one unit.
fn affine(
    isa: Isa,
    memory: &Memory,
    linear: &Linear,
    unit: usize,
    (activations, first): (&Activations, usize),
    results: &mut [[Lanes; 2]],
) {
    product(isa, (&linear.matrix, memory), unit, activations, first, results);
    if let Some(bias) = &linear.bias {
        for results in results {
            results.as_flattened_mut().iter_mut().zip(&bias[ROWS * unit..]).for_each(|(result, b)| *result += b);
        }
    }
}

/// Rows of a matrix as strips count them.
fn padded(linear: &Linear) -> usize {
    linear.matrix.rows.next_multiple_of(ROWS)
}

fn copy(from: &[f32], to: &mut [f32]) {
    to.copy_from_slice(from);
}

fn add(from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

impl Backend for Cpu {
    type Model = Weights;
    type Cache = Cache;
    type Batch = Batch;
    type Buffer = Vec<f32>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn load(&self, decoder: &Decoder, source: &dyn TensorSource) -> Result<Weights, Error> {
        Weights::load(decoder, source, &self.pool)
    }

    fn block_bytes(&self, decoder: &Decoder, block: usize) -> usize {
        cache::block_bytes(decoder, block, self.kv)
    }

    fn cache(&self, decoder: &Decoder, shape: CacheShape) -> Result<Cache, Error> {
        Cache::new(decoder, shape, self.kv)
    }

    fn buffer(&self, rows: usize, width: usize) -> Result<Vec<f32>, Error> {
        Ok(vec![0.0; rows * width])
    }

    fn batch(&self, model: &Weights, _: usize, _: usize, cache: CacheShape) -> Result<Batch, Error> {
        Ok(Batch::new(&Plan::default(), cache, &model.ropes))
    }

    fn upload(&self, model: &Weights, plan: &Plan, cache: CacheShape, batch: &mut Batch) -> Result<(), Error> {
        self.pool.pin_caller();
        *batch = Batch::new(plan, cache, &model.ropes);
        Ok(())
    }

    fn embed(&self, model: &Weights, batch: &Batch, x: &mut Vec<f32>) -> Result<(), Error> {
        let (isa, matrix, scale) = (self.isa, &model.embedding().matrix, model.decoder.embedding_scale);
        let x = Chunks::new(&mut x[..batch.tokens.len() * matrix.width], matrix.width);
        self.pool.each(x, |row, x| {
            matrix.row(isa, &model.memory, batch.tokens[row] as usize, x);
            x.iter_mut().for_each(|x| *x *= scale);
        });
        Ok(())
    }

    fn attention_inputs(
        &self,
        model: &Weights,
        layer: usize,
        batch: &Batch,
        x: &Vec<f32>,
        cache: &mut Cache,
        q: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let (isa, weights, width) = (self.isa, &model.layers[layer], model.decoder.width);
        let Mixer::Gqa(gqa) = &model.decoder.layers[layer].mixer;
        let Scratch { activations, wide, .. } = &mut *self.scratch.borrow_mut();
        let qkv = weights.qkv.each_ref();
        self.activate(activations, &qkv, batch.tokens.len(), |row, to| {
            weights.mixer_norm.apply(isa, &x[row * width..][..width], to);
            None
        });
        let starts = [0, padded(qkv[0]), padded(qkv[0]) + padded(qkv[1])];
        let stride = starts[2] + padded(qkv[2]);
        wide.resize(wide.len().max(batch.tokens.len() * stride), 0.0);
        self.products(model, &qkv, activations, (wide, stride), copy);
        let append = Append {
            gqa,
            batch,
            q_norm: weights.q_norm.as_ref().map(NormWeight::parts),
            k_norm: weights.k_norm.as_ref().map(NormWeight::parts),
            rotation: model.ropes.of_layer(layer).map(|rope| &batch.rotations[rope]),
            qkv: Qkv { values: wide, stride, starts },
        };
        append.run(&self.pool, self.isa, cache.layer_mut(layer), q);
        Ok(())
    }

    fn attend(
        &self,
        model: &Weights,
        layer: usize,
        batch: &Batch,
        cache: &Cache,
        q: &Vec<f32>,
        y: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let Mixer::Gqa(gqa) = &model.decoder.layers[layer].mixer;
        let attention = Attention { gqa, batch, cache: cache.layer(layer), q };
        attention.run(&self.pool, self.isa, &mut self.scratch.borrow_mut().attention, y);
        Ok(())
    }

    fn project_add(
        &self,
        model: &Weights,
        projection: Projection,
        batch: &Batch,
        y: &Vec<f32>,
        x: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let (isa, weights) = (self.isa, &model.layers[projection.layer]);
        let (linear, post_norm) = match projection.half {
            Half::Mixer => (&weights.out, &weights.mixer_post_norm),
            Half::Mlp => (&weights.down, &weights.mlp_post_norm),
        };
        let Scratch { activations, wide, .. } = &mut *self.scratch.borrow_mut();
        let (rows, from, width) = (batch.tokens.len(), linear.matrix.width, model.decoder.width);
        self.activate(activations, &[linear], rows, |row, _| Some(&y[row * from..][..from]));
        let Some(norm) = post_norm else {
            self.products(model, &[linear], activations, (x, width), add);
            return Ok(());
        };
        wide.resize(wide.len().max(2 * rows * width), 0.0);
        let (sums, normed) = wide.split_at_mut(rows * width);
        self.products(model, &[linear], activations, (sums, width), copy);
        let parts = (Chunks::new(&mut normed[..rows * width], width), Chunks::new(&mut x[..rows * width], width));
        self.pool.each(parts, |row, (normed, x)| {
            norm.apply(isa, &sums[row * width..][..width], normed);
            add(normed, x);
        });
        Ok(())
    }

    fn mlp_inputs(
        &self,
        model: &Weights,
        layer: usize,
        batch: &Batch,
        x: &Vec<f32>,
        h: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let (isa, weights, width) = (self.isa, &model.layers[layer], model.decoder.width);
        let (gate, up, rows) = (&weights.gate, &weights.up, batch.tokens.len());
        let activations = &mut self.scratch.borrow_mut().activations;
        self.activate(activations, &[gate, up], rows, |row, to| {
            weights.mlp_norm.apply(isa, &x[row * width..][..width], to);
            None
        });
        match rows {
            ..=FEW => self.gated::<FEW>(model, [gate, up], activations, h),
            _ => self.gated::<COLUMNS>(model, [gate, up], activations, h),
        }
        Ok(())
    }

    fn logits(&self, model: &Weights, batch: &Batch, x: &Vec<f32>, out: &mut Vec<f32>) -> Result<(), Error> {
        let Decoder { width, vocab, logit_scale, logit_softcap, .. } = model.decoder;
        let isa = self.isa;
        let activations = &mut self.scratch.borrow_mut().activations;
        if batch.outputs.is_empty() {
            return Ok(());
        }
        let (norm, head) = model.head();
        self.activate(activations, &[head], batch.outputs.len(), |row, to| {
            norm.apply(isa, &x[batch.outputs[row] as usize * width..][..width], to);
            None
        });
        self.products(model, &[head], activations, (out, vocab), |from, to| {
            for (to, logit) in to.iter_mut().zip(from) {
                let logit = logit * logit_scale;
                *to = logit_softcap.map_or(logit, |cap| cap * (logit / cap).tanh());
            }
        });
        Ok(())
    }

    fn copy_blocks(&self, cache: &mut Cache, pairs: &[(u32, u32)]) -> Result<(), Error> {
        cache.copy_blocks(pairs);
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
