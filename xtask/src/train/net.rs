//! The differentiable forward pass of a [`Decoder`] without a cache, and its backward pass.
//!
//! Sequences of a batch lie one after another without padding: every matrix product runs over all their tokens, only
//! attention runs per sequence. Activations are kept in a [`Tape`] that is reused from step to step.

use plimsoll_model::{Decoder, Ffn, Gqa, Mixer, Mlp, Norm, Residual, Scaling};

use super::attention::{attend, attend_back, qkv_width};
use super::layout::{Block, Layout};
use super::ops::{Angles, cross_entropy, linear, linear_back, rms, rms_back, swiglu, swiglu_back};

/// A decoder, the layout of its parameters and its RoPE angles.
pub struct Net {
    /// What is computed.
    pub decoder: Decoder,
    /// Where its parameters are.
    pub layout: Layout,
    angles: Vec<Option<Angles>>,
}

/// Sequences without padding, and what is to be learned from them.
#[derive(Clone, Default)]
pub struct Batch {
    /// Tokens of all sequences.
    pub ids: Vec<u32>,
    /// Tokens of each sequence.
    pub lengths: Vec<usize>,
    /// Row of `ids`, the token that should follow it, its weight in the loss.
    pub targets: Vec<(usize, u32, f32)>,
}

/// Activations of one layer. `n` is the number of tokens.
#[derive(Default)]
struct LayerTape {
    x: Vec<f32>,
    attn_in: Vec<f32>,
    qkv_raw: Vec<f32>,
    qkv: Vec<f32>,
    probs: Vec<f32>,
    y: Vec<f32>,
    attn_out: Vec<f32>,
    mid: Vec<f32>,
    mlp_in: Vec<f32>,
    gate_up: Vec<f32>,
    h: Vec<f32>,
    mlp_out: Vec<f32>,
}

/// Buffers of one forward and backward pass.
#[derive(Default)]
pub struct Tape {
    layers: Vec<LayerTape>,
    x: Vec<f32>,
    normed: Vec<f32>,
    logits: Vec<f32>,
    grad: Vec<f32>,
    scratch: [Vec<f32>; 3],
}

impl Net {
    /// Prepares a decoder for training.
    pub fn new(decoder: Decoder) -> Self {
        let angles = decoder.layers.iter().map(|layer| {
            let Mixer::Gqa(gqa) = &layer.mixer;
            gqa.rope.as_ref().map(|rope| {
                assert_eq!(rope.scaling, Scaling::None, "the demo models use plain RoPE");
                Angles::new(rope.theta, rope.dim, rope.pairing, decoder.context)
            })
        });
        Self { angles: angles.collect(), layout: Layout::new(&decoder), decoder }
    }

    /// Loss and hit (the target was the most likely token) of every target; no gradients.
    pub fn evaluate(&self, params: &[f32], batch: &Batch, tape: &mut Tape) -> Vec<(f32, bool)> {
        self.forward(params, batch, tape);
        self.losses(batch, tape)
    }

    /// As [`Net::evaluate`], and adds the gradient of the weighted loss to `grads`.
    pub fn learn(&self, params: &[f32], grads: &mut [f32], batch: &Batch, tape: &mut Tape) -> Vec<(f32, bool)> {
        let losses = self.evaluate(params, batch, tape);
        self.backward(params, grads, batch, tape);
        losses
    }

    /// Leaves the logits of the targets in the tape.
    fn forward(&self, params: &[f32], batch: &Batch, tape: &mut Tape) {
        let width = self.decoder.width;
        resize(&mut tape.x, batch.ids.len() * width);
        let embed = &params[self.layout.embed.clone()];
        for (x, &id) in tape.x.chunks_exact_mut(width).zip(&batch.ids) {
            x.copy_from_slice(&embed[id as usize * width..][..width]);
        }
        tape.layers.resize_with(self.decoder.layers.len(), LayerTape::default);
        for i in 0..self.decoder.layers.len() {
            self.block_forward(i, params, batch, &mut tape.layers[i], &mut tape.x);
        }
        resize(&mut tape.normed, tape.x.len());
        let Norm::Rms { eps } = self.decoder.norm;
        rms(&mut tape.normed, &tape.x, &params[self.layout.norm.clone()], eps);
        let n = batch.targets.len();
        resize(&mut tape.logits, n * self.decoder.vocab);
        linear(&mut tape.logits, &tape.normed, &params[self.layout.head.clone()], None, n, false);
    }

    /// In the last block, all that follows attention is computed for the targets alone.
    fn block_forward(&self, i: usize, params: &[f32], batch: &Batch, t: &mut LayerTape, x: &mut Vec<f32>) {
        let (layer, block) = (&self.decoder.layers[i], &self.layout.blocks[i]);
        let (Mixer::Gqa(gqa), Mlp::Dense(ffn), Norm::Rms { eps }) = (&layer.mixer, &layer.mlp, layer.norm);
        let sandwich = layer.residual == Residual::Sandwich;
        let width = self.decoder.width;
        let at = |range: &std::ops::Range<usize>| &params[range.clone()];

        copy(&mut t.x, x);
        resize(&mut t.attn_in, x.len());
        rms(&mut t.attn_in, x, at(&block.norms[0]), eps);
        self.qkv_forward(i, gqa, eps, params, batch, t);
        attention_forward(gqa, batch, t);
        if i + 1 == self.decoder.layers.len() {
            gather(x, width, batch);
            gather(&mut t.y, gqa.heads * gqa.head_dim, batch);
        }
        let n = x.len() / width;
        let post = sandwich.then(|| at(&block.norms[1]));
        project_add(x, &mut t.attn_out, &t.y, at(&block.out), post, eps, n);

        copy(&mut t.mid, x);
        resize(&mut t.mlp_in, x.len());
        rms(&mut t.mlp_in, x, at(&block.norms[if sandwich { 2 } else { 1 }]), eps);
        resize(&mut t.gate_up, n * 2 * ffn.width);
        linear(&mut t.gate_up, &t.mlp_in, at(&block.gate_up), None, n, false);
        resize(&mut t.h, n * ffn.width);
        swiglu(&mut t.h, &t.gate_up, ffn.width);
        let post = sandwich.then(|| at(&block.norms[3]));
        project_add(x, &mut t.mlp_out, &t.h, at(&block.down), post, eps, n);
    }

    fn qkv_forward(&self, i: usize, gqa: &Gqa, eps: f32, params: &[f32], batch: &Batch, t: &mut LayerTape) {
        let block = &self.layout.blocks[i];
        let n = batch.ids.len();
        resize(&mut t.qkv, n * qkv_width(gqa));
        let bias = block.qkv_bias.clone().map(|bias| &params[bias]);
        linear(&mut t.qkv, &t.attn_in, &params[block.qkv.clone()], bias, n, false);
        if let Some(norms) = &block.qk_norm {
            copy(&mut t.qkv_raw, &t.qkv);
            let rows = t.qkv.chunks_exact_mut(qkv_width(gqa)).zip(t.qkv_raw.chunks_exact(qkv_width(gqa)));
            for (y, x) in rows {
                for (columns, norm) in qk_columns(gqa).into_iter().zip(norms) {
                    rms(&mut y[columns.clone()], &x[columns], &params[norm.clone()], eps);
                }
            }
        }
        self.rotate(i, gqa, batch, &mut t.qkv, 1.0);
    }

    /// Turns the q and k heads of every token by its position, or back.
    fn rotate(&self, i: usize, gqa: &Gqa, batch: &Batch, qkv: &mut [f32], sign: f32) {
        let Some(angles) = &self.angles[i] else { return };
        let positions = batch.lengths.iter().flat_map(|&len| 0..len);
        for (row, position) in qkv.chunks_exact_mut(qkv_width(gqa)).zip(positions) {
            let rotated = (gqa.heads + gqa.kv_heads) * gqa.head_dim;
            row[..rotated].chunks_exact_mut(gqa.head_dim).for_each(|head| angles.rotate(head, position, sign));
        }
    }

    /// Turns the logits into their gradients.
    fn losses(&self, batch: &Batch, tape: &mut Tape) -> Vec<(f32, bool)> {
        let rows = tape.logits.chunks_exact_mut(self.decoder.vocab);
        rows.zip(&batch.targets).map(|(row, &(_, token, weight))| cross_entropy(row, token as usize, weight)).collect()
    }

    fn backward(&self, params: &[f32], grads: &mut [f32], batch: &Batch, tape: &mut Tape) {
        let width = self.decoder.width;
        let head = self.layout.head.clone();
        let dnormed = &mut tape.scratch[0];
        resize(dnormed, tape.normed.len());
        let n = batch.targets.len();
        linear_back(dnormed, &mut grads[head.clone()], None, &tape.logits, &tape.normed, &params[head], n);
        zero(&mut tape.grad, tape.x.len());
        let (norm, Norm::Rms { eps }) = (self.layout.norm.clone(), self.decoder.norm);
        rms_back(&mut tape.grad, &mut grads[norm.clone()], dnormed, &tape.x, &params[norm], eps);
        for i in (0..self.decoder.layers.len()).rev() {
            let pass = Backward { net: self, i, params, batch, t: &tape.layers[i] };
            pass.mlp(grads, &mut tape.grad, &mut tape.scratch);
            pass.attention(grads, &mut tape.grad, &mut tape.scratch);
        }
        let embed = &mut grads[self.layout.embed.clone()];
        for (dx, &id) in tape.grad.chunks_exact(width).zip(&batch.ids) {
            add(&mut embed[id as usize * width..][..width], dx);
        }
    }
}

/// The logits of every position of one sequence, `[ids, vocab]`.
#[cfg(test)]
pub fn logits(decoder: &Decoder, params: &[f32], ids: &[u32]) -> Vec<f32> {
    let net = Net::new(decoder.clone());
    let targets = (0..ids.len()).map(|i| (i, 0, 0.0)).collect();
    let batch = Batch { ids: ids.into(), lengths: vec![ids.len()], targets };
    let mut tape = Tape::default();
    net.forward(params, &batch, &mut tape);
    tape.logits
}

/// The backward pass of one block.
struct Backward<'a> {
    net: &'a Net,
    i: usize,
    params: &'a [f32],
    batch: &'a Batch,
    t: &'a LayerTape,
}

impl Backward<'_> {
    fn parts(&self) -> (&Gqa, &Ffn, f32, &Block, bool) {
        let layer = &self.net.decoder.layers[self.i];
        let (Mixer::Gqa(gqa), Mlp::Dense(ffn), Norm::Rms { eps }) = (&layer.mixer, &layer.mlp, layer.norm);
        (gqa, ffn, eps, &self.net.layout.blocks[self.i], layer.residual == Residual::Sandwich)
    }

    /// `dx` comes in as the gradient of the block's output and leaves as that of its middle.
    fn mlp(&self, grads: &mut [f32], dx: &mut [f32], [a, b, c]: &mut [Vec<f32>; 3]) {
        let (_, ffn, eps, block, sandwich) = self.parts();
        let t = self.t;
        let n = dx.len() / self.net.decoder.width;
        let dout = self.post_norm(grads, dx, &t.mlp_out, sandwich.then(|| &block.norms[3]), eps, a);
        resize(b, t.h.len());
        self.linear(b, grads, dout, &t.h, &block.down, n);
        resize(c, t.gate_up.len());
        swiglu_back(c, b, &t.gate_up, ffn.width);
        resize(a, t.mlp_in.len());
        self.linear(a, grads, c, &t.mlp_in, &block.gate_up, n);
        let norm = block.norms[if sandwich { 2 } else { 1 }].clone();
        rms_back(dx, &mut grads[norm.clone()], a, &t.mid, &self.params[norm], eps);
    }

    /// `dx` comes in as the gradient of the block's middle and leaves as that of its input.
    fn attention(&self, grads: &mut [f32], dx: &mut Vec<f32>, [a, b, c]: &mut [Vec<f32>; 3]) {
        let (gqa, _, eps, block, sandwich) = self.parts();
        let t = self.t;
        let n = dx.len() / self.net.decoder.width;
        let dout = self.post_norm(grads, dx, &t.attn_out, sandwich.then(|| &block.norms[1]), eps, a);
        resize(b, t.y.len());
        self.linear(b, grads, dout, &t.y, &block.out, n);
        if self.i + 1 == self.net.decoder.layers.len() {
            scatter(dx, self.net.decoder.width, self.batch);
            scatter(b, gqa.heads * gqa.head_dim, self.batch);
        }
        let n = self.batch.ids.len();
        zero(c, t.qkv.len());
        for Sequence { rows, probs, len } in sequences(self.batch, gqa) {
            let (y, qkv) = (gqa.heads * gqa.head_dim, qkv_width(gqa));
            let place = rows * qkv..(rows + len) * qkv;
            let probs = &t.probs[probs..probs + len * len * gqa.heads];
            attend_back(&mut c[place.clone()], &b[rows * y..(rows + len) * y], probs, &t.qkv[place], len, gqa);
        }
        self.net.rotate(self.i, gqa, self.batch, c, -1.0);
        if let Some(norms) = &block.qk_norm {
            self.qk_norm(grads, gqa, norms, eps, c);
        }
        resize(a, t.attn_in.len());
        self.linear(a, grads, c, &t.attn_in, &block.qkv, n);
        if let Some(bias) = block.qkv_bias.clone() {
            let rows = c.chunks_exact(qkv_width(gqa));
            rows.for_each(|row| add(&mut grads[bias.clone()], row));
        }
        let norm = block.norms[0].clone();
        rms_back(dx, &mut grads[norm.clone()], a, &t.x, &self.params[norm], eps);
    }

    fn linear(&self, dx: &mut [f32], grads: &mut [f32], dy: &[f32], x: &[f32], w: &std::ops::Range<usize>, n: usize) {
        linear_back(dx, &mut grads[w.clone()], None, dy, x, &self.params[w.clone()], n);
    }

    /// The gradient of a projection's output: that of the stream, through the post-norm of a sandwich.
    fn post_norm<'b>(
        &self,
        grads: &mut [f32],
        dx: &'b [f32],
        out: &[f32],
        norm: Option<&std::ops::Range<usize>>,
        eps: f32,
        buffer: &'b mut Vec<f32>,
    ) -> &'b [f32] {
        let Some(norm) = norm else { return dx };
        zero(buffer, dx.len());
        rms_back(buffer, &mut grads[norm.clone()], dx, out, &self.params[norm.clone()], eps);
        buffer
    }

    /// Replaces the gradients of normed q and k by those of the raw ones.
    fn qk_norm(&self, grads: &mut [f32], gqa: &Gqa, norms: &[std::ops::Range<usize>; 2], eps: f32, d: &mut [f32]) {
        let mut dy = Vec::new();
        let rows = d.chunks_exact_mut(qkv_width(gqa)).zip(self.t.qkv_raw.chunks_exact(qkv_width(gqa)));
        for (d, x) in rows {
            for (columns, norm) in qk_columns(gqa).into_iter().zip(norms) {
                copy(&mut dy, &d[columns.clone()]);
                d[columns.clone()].fill(0.0);
                rms_back(
                    &mut d[columns.clone()],
                    &mut grads[norm.clone()],
                    &dy,
                    &x[columns],
                    &self.params[norm.clone()],
                    eps,
                );
            }
        }
    }
}

/// Attention of every sequence.
fn attention_forward(gqa: &Gqa, batch: &Batch, t: &mut LayerTape) {
    let (y, qkv) = (gqa.heads * gqa.head_dim, qkv_width(gqa));
    resize(&mut t.y, batch.ids.len() * y);
    resize(&mut t.probs, batch.lengths.iter().map(|len| len * len * gqa.heads).sum());
    for Sequence { rows, probs, len } in sequences(batch, gqa) {
        let probs = &mut t.probs[probs..probs + len * len * gqa.heads];
        let qkv = &t.qkv[rows * qkv..(rows + len) * qkv];
        attend(&mut t.y[rows * y..(rows + len) * y], probs, qkv, len, gqa);
    }
}

/// Keeps the rows that have targets.
fn gather(x: &mut Vec<f32>, width: usize, batch: &Batch) {
    let rows = batch.targets.iter().flat_map(|&(row, ..)| &x[row * width..][..width]);
    *x = rows.copied().collect();
}

/// Backward of [`gather`].
fn scatter(dx: &mut Vec<f32>, width: usize, batch: &Batch) {
    let mut all = vec![0.0; batch.ids.len() * width];
    for (row, &(at, ..)) in dx.chunks_exact(width).zip(&batch.targets) {
        add(&mut all[at * width..][..width], row);
    }
    *dx = all;
}

/// `x += (post_norm) y w^T`; a sandwich keeps the projection in `out`.
fn project_add(x: &mut [f32], out: &mut Vec<f32>, y: &[f32], w: &[f32], norm: Option<&[f32]>, eps: f32, n: usize) {
    let Some(norm) = norm else { return linear(x, y, w, None, n, true) };
    resize(out, x.len());
    linear(out, y, w, None, n, false);
    let mut normed = vec![0.0; x.len()];
    rms(&mut normed, out, norm, eps);
    add(x, &normed);
}

/// The place of one sequence: its first row, where its attention weights start, its length.
struct Sequence {
    rows: usize,
    probs: usize,
    len: usize,
}

fn sequences<'a>(batch: &'a Batch, gqa: &'a Gqa) -> impl Iterator<Item = Sequence> + 'a {
    batch.lengths.iter().scan((0, 0), |(rows, probs), &len| {
        let sequence = Sequence { rows: *rows, probs: *probs, len };
        *rows += len;
        *probs += len * len * gqa.heads;
        Some(sequence)
    })
}

/// Columns of q and of k.
fn qk_columns(gqa: &Gqa) -> [std::ops::Range<usize>; 2] {
    let (q, k) = (gqa.heads * gqa.head_dim, gqa.kv_heads * gqa.head_dim);
    [0..q, q..q + k]
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

fn resize(v: &mut Vec<f32>, len: usize) {
    v.resize(len, 0.0);
}

fn zero(v: &mut Vec<f32>, len: usize) {
    v.clear();
    v.resize(len, 0.0);
}

fn copy(v: &mut Vec<f32>, from: &[f32]) {
    v.clear();
    v.extend_from_slice(from);
}
