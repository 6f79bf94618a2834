//! The ops, as plainly as tensors allow. Shapes are `[rows, ...]` of the batch.

use candle_core::{D, Result, Tensor};
use plimsoll_backend::Half;
use plimsoll_model::Pairing;

use crate::batch::{Batch, View};
use crate::weights::{LayerWeights, NormWeight, Weights};

pub(crate) fn embed(model: &Weights, batch: &Batch) -> Result<Tensor> {
    let embedding = model.embedding.as_ref().expect("a model that begins here");
    embedding.index_select(&batch.tokens, 0)? * model.embedding_scale
}

/// `(q, k, v)`, each `[T, its width]`.
pub(crate) fn attention_inputs(layer: &LayerWeights, batch: &Batch, x: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let x = layer.mixer_norm.forward(x)?;
    let finish = |values: Tensor, norm: &Option<NormWeight>| -> Result<Tensor> {
        let (rows, width) = values.dims2()?;
        let mut heads = values.reshape((rows, width / layer.gqa.head_dim, layer.gqa.head_dim))?;
        if let Some(norm) = norm {
            heads = norm.forward(&heads)?;
        }
        if let (Some(rope), Some(index)) = (&layer.gqa.rope, layer.rope) {
            heads = rotate(&heads, rope.pairing, &batch.rotations[index])?;
        }
        heads.reshape((rows, width))
    };
    let q = finish(layer.q.forward(&x)?, &layer.q_norm)?;
    let k = finish(layer.k.forward(&x)?, &layer.k_norm)?;
    Ok((q, k, layer.v.forward(&x)?))
}

/// Rotates the first dimensions of each head, `[T, heads, head_dim]`.
fn rotate(heads: &Tensor, pairing: Pairing, (cos, sin): &(Tensor, Tensor)) -> Result<Tensor> {
    let (rows, count, width) = heads.dims3()?;
    let half = cos.dim(2)?;
    let turned = heads.narrow(2, 0, 2 * half)?;
    let (a, b) = match pairing {
        Pairing::Half => (turned.narrow(2, 0, half)?, turned.narrow(2, half, half)?),
        Pairing::Adjacent => {
            let pairs = turned.reshape((rows, count, half, 2))?;
            (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
        }
    };
    let first = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let second = (b.broadcast_mul(cos)? + a.broadcast_mul(sin)?)?;
    let turned = match pairing {
        Pairing::Half => Tensor::cat(&[first, second], 2)?,
        Pairing::Adjacent => Tensor::stack(&[first, second], 3)?.reshape((rows, count, 2 * half))?,
    };
    match width - 2 * half {
        0 => Ok(turned),
        rest => Tensor::cat(&[turned, heads.narrow(2, 2 * half, rest)?], 2),
    }
}

/// `[T, heads * head_dim]`; `k` and `v` are the layer's cache, `[slots, kv width]`.
pub(crate) fn attend(layer: &LayerWeights, batch: &Batch, k: &Tensor, v: &Tensor, q: &Tensor) -> Result<Tensor> {
    let views = batch.views[layer.span].iter();
    let rows: Vec<Tensor> = views.map(|view| attend_sequence(layer, view, k, v, q)).collect::<Result<_>>()?;
    Tensor::cat(&rows, 0)
}

/// One sequence; the query heads of a group are stacked so that each key/value head is read once.
fn attend_sequence(layer: &LayerWeights, view: &View, k: &Tensor, v: &Tensor, q: &Tensor) -> Result<Tensor> {
    let gqa = &layer.gqa;
    let (kv_heads, group, dim) = (gqa.kv_heads, gqa.heads / gqa.kv_heads, gqa.head_dim);
    let keys = view.slots.dim(0)?;
    let gather = |cache: &Tensor| {
        cache.index_select(&view.slots, 0)?.reshape((keys, kv_heads, dim))?.transpose(0, 1)?.contiguous()
    };
    let q = q.narrow(0, view.row, view.rows)?.reshape((view.rows, kv_heads, group, dim))?;
    let q = q.permute((1, 2, 0, 3))?.contiguous()?.reshape((kv_heads, group * view.rows, dim))?;
    let scores = (q.matmul(&gather(k)?.transpose(1, 2)?)? * f64::from(gqa.scale))?;
    let scores = scores.reshape((kv_heads, group, view.rows, keys))?.broadcast_add(&view.mask)?;
    let weights = softmax(&scores)?.reshape((kv_heads, group * view.rows, keys))?;
    let y = weights.matmul(&gather(v)?)?.reshape((kv_heads, group, view.rows, dim))?;
    y.permute((2, 0, 1, 3))?.reshape((view.rows, gqa.q_width()))
}

fn softmax(scores: &Tensor) -> Result<Tensor> {
    let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)
}

pub(crate) fn project_add(layer: &LayerWeights, half: Half, y: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (matrix, post_norm) = match half {
        Half::Mixer => (&layer.out, &layer.mixer_post_norm),
        Half::Mlp => (&layer.down, &layer.mlp_post_norm),
    };
    let sum = matrix.forward(y)?;
    x + match post_norm {
        Some(norm) => norm.forward(&sum)?,
        None => sum,
    }
}

pub(crate) fn mlp_inputs(layer: &LayerWeights, x: &Tensor) -> Result<Tensor> {
    let x = layer.mlp_norm.forward(x)?;
    layer.gate.forward(&x)?.silu()? * layer.up.forward(&x)?
}

/// `[R, vocab]`
pub(crate) fn logits(model: &Weights, batch: &Batch, x: &Tensor) -> Result<Tensor> {
    let (norm, head) = model.head.as_ref().expect("a model that ends here");
    let x = norm.forward(&x.index_select(&batch.outputs, 0)?)?;
    let logits = (head.forward(&x)? * model.logit_scale)?;
    match model.logit_softcap {
        Some(cap) => (logits / cap)?.tanh()? * cap,
        None => Ok(logits),
    }
}
