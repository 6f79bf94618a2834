//! The description of a decoder-only transformer.

use std::ops::Range;

/// A whole model: embedding, layers, final norm and output head.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    /// Rows of the embedding and of the head.
    pub vocab: usize,
    /// Width of the residual stream (`hidden_size`).
    pub width: usize,
    /// Longest sequence the model was made for, in tokens (`max_position_embeddings`).
    pub context: usize,
    /// One entry per block, first to last.
    pub layers: Vec<Layer>,
    /// The norm before the head.
    pub norm: Norm,
    /// The head reads the embedding matrix.
    pub tied_embeddings: bool,
    /// Factor on embeddings (1 for most, `sqrt(width)` for Gemma).
    pub embedding_scale: f32,
    /// Factor on logits.
    pub logit_scale: f32,
    /// `c * tanh(logit / c)`.
    pub logit_softcap: Option<f32>,
    /// What there is beside the layers: all of it, but for a [`slice`](Self::slice).
    pub ends: Ends,
}

/// The ends of a model that a description has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The embedding, where token ids come in.
    pub embedding: bool,
    /// The final norm and the head, where logits go out.
    pub head: bool,
}

/// One block.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// How the sub-blocks join the residual stream.
    pub residual: Residual,
    /// The kind of all norms in the block.
    pub norm: Norm,
    /// Token mixer.
    pub mixer: Mixer,
    /// Channel mixer.
    pub mlp: Mlp,
}

/// Order of norms and residual additions, `a` the mixer and `m` the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// `x += a(n1 x); x += m(n2 x)`
    PreNorm,
    /// `x += n2 a(n1 x); x += n4 m(n3 x)`
    Sandwich,
}

/// Normalization over the last dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// `x / sqrt(mean(x^2) + eps) * w` (arXiv 1910.07467).
    Rms {
        /// Added to the mean square.
        eps: f32,
    },
}

/// A token mixer.
#[derive(Clone, Debug, PartialEq)]
pub enum Mixer {
    /// Grouped-query attention.
    Gqa(Gqa),
}

/// Grouped-query attention (arXiv 2305.13245): `heads / kv_heads` query heads share each key/value head.
#[derive(Clone, Debug, PartialEq)]
pub struct Gqa {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Width of a head; `heads * head_dim` need not be the model's width.
    pub head_dim: usize,
    /// Bias on q, k and v.
    pub qkv_bias: bool,
    /// Bias on the output projection.
    pub out_bias: bool,
    /// Norm on q and k before RoPE.
    pub qk_norm: QkNorm,
    /// Rotary embedding, or none.
    pub rope: Option<Rope>,
    /// Which keys a query sees.
    pub span: Span,
    /// Factor on `q . k`.
    pub scale: f32,
}

/// Norm on queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// None.
    None,
    /// RMS per head, weight `[head_dim]` shared by the heads.
    Head,
}

/// Keys visible to the query at position `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// `j <= i`
    Full,
    /// `i - window < j <= i`: `window` keys including the query's own.
    Window(usize),
}

/// Rotary position embedding (arXiv 2104.09864).
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Rotated dimensions, the first of each head; even and at most `head_dim`.
    pub dim: usize,
    /// Which dimensions form a pair.
    pub pairing: Pairing,
    /// Base of the frequencies.
    pub theta: f32,
    /// How frequencies are stretched for long contexts.
    pub scaling: Scaling,
}

/// Which dimensions RoPE rotates together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// `(i, i + dim/2)`: Hugging Face, "NEOX".
    Half,
    /// `(2i, 2i + 1)`: the paper, GGUF Llama.
    Adjacent,
}

/// Frequency scaling of RoPE.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Plain `theta^(-2i/dim)`.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// Stretch.
        factor: f32,
    },
    /// Llama 3.1: low frequencies divided by `factor`, a smooth ramp between.
    Llama3 {
        /// Stretch of the low frequencies.
        factor: f32,
        /// Wavelengths above `original / low` are stretched whole.
        low: f32,
        /// Wavelengths below `original / high` are kept.
        high: f32,
        /// Context length of the original training.
        original: f32,
    },
    /// YaRN (arXiv 2309.00071); `cos_scale` multiplies cos and sin.
    Yarn {
        /// Stretch of the low frequencies.
        factor: f32,
        /// Context length of the original training.
        original: f32,
        /// Rotations above which a frequency is kept.
        beta_fast: f32,
        /// Rotations below which it is stretched whole.
        beta_slow: f32,
        /// Factor on cos and sin.
        cos_scale: f32,
        /// Ramp bounds are rounded outward to whole dimensions.
        truncate: bool,
    },
    /// One divisor per frequency, `[dim/2]` (GGUF `rope_freqs`).
    Factors(Vec<f32>),
}

/// A channel mixer.
#[derive(Clone, Debug, PartialEq)]
pub enum Mlp {
    /// One feed-forward network for every token.
    Dense(Ffn),
}

/// A feed-forward network: `down(act(gate x) * up x)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ffn {
    /// Inner width (`intermediate_size`).
    pub width: usize,
    /// Activation on the gate.
    pub act: Act,
    /// Bias on gate, up and down.
    pub bias: bool,
}

/// An activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `x * sigmoid(x)`
    Silu,
}

impl Ends {
    /// Those of a whole model.
    pub const BOTH: Ends = Ends { embedding: true, head: true };
}

impl Decoder {
    /// A run of the layers, counted from 0 again: with the embedding if it has the first, with final norm and head if it has
    /// the last.
    pub fn slice(&self, layers: Range<usize>) -> Decoder {
        let ends = Ends {
            embedding: self.ends.embedding && layers.start == 0,
            head: self.ends.head && layers.end == self.layers.len(),
        };
        Decoder { layers: self.layers[layers].to_vec(), ends, ..self.clone() }
    }
}

impl Gqa {
    /// `heads * head_dim`
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// `kv_heads * head_dim`
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}
