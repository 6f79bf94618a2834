//! Causal grouped-query attention over one sequence, with its backward pass.

use plimsoll_model::{Gqa, Span};

use super::matmul::{View, matmul};
use super::ops::{dot, exp};

/// `y[t, heads * head_dim]` from the rows `q, k, v` of `qkv`; `probs` [heads, t, t] is kept for the backward pass.
pub fn attend(y: &mut [f32], probs: &mut [f32], qkv: &[f32], t: usize, gqa: &Gqa) {
    let (hd, width) = (gqa.head_dim, qkv_width(gqa));
    for head in 0..gqa.heads {
        let [q, k, v] = columns(gqa, head).map(|at| View::new(&qkv[at..], t, hd, width));
        let p = &mut probs[head * t * t..(head + 1) * t * t];
        matmul(p, t, false, gqa.scale, q, k.t());
        for (i, row) in p.chunks_exact_mut(t).enumerate() {
            softmax(row, first_key(gqa.span, i), i + 1);
        }
        matmul(&mut y[head * hd..], gqa.heads * hd, false, 1.0, View::new(p, t, t, t), v);
    }
}

/// Backward of [`attend`]: adds to `dqkv`.
pub fn attend_back(dqkv: &mut [f32], dy: &[f32], probs: &[f32], qkv: &[f32], t: usize, gqa: &Gqa) {
    let (hd, width) = (gqa.head_dim, qkv_width(gqa));
    let mut ds = vec![0.0; t * t];
    for head in 0..gqa.heads {
        let [q, k, v] = columns(gqa, head).map(|at| View::new(&qkv[at..], t, hd, width));
        let [dq, dk, dv] = columns(gqa, head);
        let p = &probs[head * t * t..(head + 1) * t * t];
        let dy = View::new(&dy[head * hd..], t, hd, gqa.heads * hd);
        matmul(&mut dqkv[dv..], width, true, 1.0, View::new(p, t, t, t).t(), dy);
        matmul(&mut ds, t, false, 1.0, dy, v.t());
        for (ds, p) in ds.chunks_exact_mut(t).zip(p.chunks_exact(t)) {
            let mean = dot(ds, p);
            ds.iter_mut().zip(p).for_each(|(d, p)| *d = p * (*d - mean));
        }
        let ds = View::new(&ds, t, t, t);
        matmul(&mut dqkv[dq..], width, true, gqa.scale, ds, k);
        matmul(&mut dqkv[dk..], width, true, gqa.scale, ds.t(), q);
    }
}

/// Width of a row of q, k and v together.
pub fn qkv_width(gqa: &Gqa) -> usize {
    (gqa.heads + 2 * gqa.kv_heads) * gqa.head_dim
}

/// First column of q, k and v of a query head.
fn columns(gqa: &Gqa, head: usize) -> [usize; 3] {
    let kv = head / (gqa.heads / gqa.kv_heads);
    [head, gqa.heads + kv, gqa.heads + gqa.kv_heads + kv].map(|h| h * gqa.head_dim)
}

fn first_key(span: Span, i: usize) -> usize {
    match span {
        Span::Full => 0,
        Span::Window(window) => (i + 1).saturating_sub(window),
    }
}

/// Softmax over `row[from..to]`, zero elsewhere.
fn softmax(row: &mut [f32], from: usize, to: usize) {
    row[..from].fill(0.0);
    row[to..].fill(0.0);
    let seen = &mut row[from..to];
    let max = seen.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    seen.iter_mut().for_each(|x| *x = exp(*x - max));
    let inv = 1.0 / seen.iter().sum::<f32>();
    seen.iter_mut().for_each(|x| *x *= inv);
}
