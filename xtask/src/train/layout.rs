//! Where each tensor of a model lies in the one flat vector of its parameters.
//!
//! Matrices that read the same input lie next to each other (q, k, v; gate, up), so that one product serves them.

use std::ops::Range;

use plimsoll_model::{Decoder, Gqa, Layer, Mixer, Mlp, QkNorm, Residual};

use super::attention::qkv_width;
use crate::rng::Rng;

/// A named tensor, by its Hugging Face name.
pub struct Slot {
    /// `model.layers.0.self_attn.q_proj.weight`
    pub name: String,
    /// `[out, in]`, or one dimension for norms and biases.
    pub shape: Vec<usize>,
    /// Its place in the parameters.
    pub range: Range<usize>,
}

/// The places of one block's tensors.
pub struct Block {
    /// Norms in the order of their use: 2 for pre-norm, 4 for sandwich.
    pub norms: Vec<Range<usize>>,
    /// q, k, v.
    pub qkv: Range<usize>,
    /// Their biases.
    pub qkv_bias: Option<Range<usize>>,
    /// Norms of q and k heads.
    pub qk_norm: Option<[Range<usize>; 2]>,
    /// Output projection.
    pub out: Range<usize>,
    /// gate, up.
    pub gate_up: Range<usize>,
    /// Down projection.
    pub down: Range<usize>,
}

/// The places of all tensors.
pub struct Layout {
    /// Every tensor, in order; together they cover `0..len`.
    pub slots: Vec<Slot>,
    /// Per layer.
    pub blocks: Vec<Block>,
    /// `[vocab, width]`
    pub embed: Range<usize>,
    /// The final norm.
    pub norm: Range<usize>,
    /// The output head: `embed` when tied.
    pub head: Range<usize>,
    /// Parameters in all.
    pub len: usize,
}

impl Layout {
    /// Lays out a decoder.
    pub fn new(decoder: &Decoder) -> Self {
        let mut slots = Slots(Vec::new());
        let embed = slots.add("model.embed_tokens.weight", &[decoder.vocab, decoder.width]);
        let blocks = decoder.layers.iter().enumerate().map(|(i, layer)| slots.block(i, layer, decoder.width)).collect();
        let norm = slots.add("model.norm.weight", &[decoder.width]);
        let head = match decoder.tied_embeddings {
            true => embed.clone(),
            false => slots.add("lm_head.weight", &[decoder.vocab, decoder.width]),
        };
        let len = slots.len();
        Self { slots: slots.0, blocks, embed, norm, head, len }
    }

    /// Fresh parameters: ones in norms, zeros in biases, normal values in matrices with a variance of `1 / (4 in)`;
    /// what writes to the residual stream (output matrices, the second norms of a sandwich) starts smaller.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        let mut rng = Rng(seed);
        let residual = 1.0 / (2.0 * self.blocks.len() as f32).sqrt();
        let mut params = vec![0.0; self.len];
        for slot in &self.slots {
            let std = match slot.shape[..] {
                [_, _] if slot.name.contains("embed_tokens") || slot.name.contains("lm_head") => 0.03,
                [_, input] => {
                    let writes = slot.name.contains("o_proj") || slot.name.contains("down_proj");
                    0.5 / (input as f32).sqrt() * if writes { residual } else { 1.0 }
                }
                _ => 0.0,
            };
            let constant = match &slot.name {
                name if name.contains("post_self_attn") || name.contains("post_mlp") => 0.2,
                name if name.ends_with("norm.weight") => 1.0,
                _ => 0.0,
            };
            params[slot.range.clone()].fill_with(|| if std > 0.0 { std * rng.normal() } else { constant });
        }
        params
    }
}

struct Slots(Vec<Slot>);

impl Slots {
    fn len(&self) -> usize {
        self.0.last().map_or(0, |slot| slot.range.end)
    }

    fn add(&mut self, name: &str, shape: &[usize]) -> Range<usize> {
        let range = self.len()..self.len() + shape.iter().product::<usize>();
        self.0.push(Slot { name: name.into(), shape: shape.into(), range: range.clone() });
        range
    }

    fn block(&mut self, i: usize, layer: &Layer, width: usize) -> Block {
        let (Mixer::Gqa(gqa), Mlp::Dense(ffn)) = (&layer.mixer, &layer.mlp);
        let mut add = |name: &str, shape: &[usize]| self.add(&format!("model.layers.{i}.{name}"), shape);
        let norms: &[&str] = match layer.residual {
            Residual::PreNorm => &["input", "post_attention"],
            Residual::Sandwich => &["input", "post_self_attn", "post_attention", "post_mlp"],
        };
        let norms = norms.iter().map(|n| add(&format!("{n}_layernorm.weight"), &[width])).collect();
        let qkv = join(heads(gqa).map(|(n, rows)| add(&format!("self_attn.{n}_proj.weight"), &[rows, width])));
        let bias =
            gqa.qkv_bias.then(|| join(heads(gqa).map(|(n, rows)| add(&format!("self_attn.{n}_proj.bias"), &[rows]))));
        let qk_norm = (gqa.qk_norm == QkNorm::Head)
            .then(|| ["q", "k"].map(|n| add(&format!("self_attn.{n}_norm.weight"), &[gqa.head_dim])));
        let out = add("self_attn.o_proj.weight", &[width, gqa.heads * gqa.head_dim]);
        let gate_up = join(["gate", "up"].map(|n| add(&format!("mlp.{n}_proj.weight"), &[ffn.width, width])));
        let down = add("mlp.down_proj.weight", &[width, ffn.width]);
        Block { norms, qkv, qkv_bias: bias, qk_norm, out, gate_up, down }
    }
}

/// Names and rows of q, k and v.
fn heads(gqa: &Gqa) -> [(&'static str, usize); 3] {
    let (q, kv) = (gqa.heads * gqa.head_dim, gqa.kv_heads * gqa.head_dim);
    assert_eq!(q + 2 * kv, qkv_width(gqa));
    [("q", q), ("k", kv), ("v", kv)]
}

/// Neighbouring ranges as one.
fn join<const N: usize>(ranges: [Range<usize>; N]) -> Range<usize> {
    ranges[0].start..ranges[N - 1].end
}
