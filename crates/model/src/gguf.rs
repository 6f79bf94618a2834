//! Keys of a GGUF file: what a reader provides, and the parts families share.

use crate::rope::yarn_magnitude;
use crate::*;

/// What a GGUF header says. A key of the wrong type is an error, an absent one `None`.
pub trait Keys {
    /// Any integer that fits.
    fn int(&self, key: &str) -> Result<Option<i64>, Error>;
    /// One integer per layer, or one for all.
    fn ints(&self, key: &str) -> Result<Option<Vec<i64>>, Error>;
    /// A number.
    fn float(&self, key: &str) -> Result<Option<f32>, Error>;
    /// A string.
    fn text(&self, key: &str) -> Result<Option<String>, Error>;
    /// Shape of a tensor, slowest dimension first.
    fn shape(&self, tensor: &str) -> Option<Vec<usize>>;
    /// Values of a small tensor.
    fn values(&self, tensor: &str) -> Result<Option<Vec<f32>>, Error>;
}

/// Keys under one architecture's prefix.
struct Arch<'a> {
    keys: &'a dyn Keys,
    name: &'static str,
}

impl Arch<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn count(&self, key: &str) -> Result<Option<usize>, Error> {
        let key = self.key(key);
        let count = |n: i64| usize::try_from(n).map_err(|_| Error::invalid(&key, n, "a non-negative integer"));
        self.keys.int(&key)?.map(count).transpose()
    }

    fn required(&self, key: &str) -> Result<usize, Error> {
        self.count(key)?.ok_or_else(|| Error::missing(&self.key(key), "a positive integer"))
    }

    fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        self.keys.float(&self.key(key))
    }

    /// A size that may be given once or per layer; per layer it must agree, as in all dense families so far.
    fn uniform(&self, key: &str, layers: usize) -> Result<Option<usize>, Error> {
        let full = self.key(key);
        let Some(list) = self.keys.ints(&full)? else { return Ok(None) };
        let Some(&first) = list.first() else { return Err(Error::invalid(&full, "empty", "one value per layer")) };
        if list.len() != 1 && list.len() != layers {
            return Err(Error::invalid(&full, format!("{} values", list.len()), format!("{layers}, one per layer")));
        }
        if list.iter().any(|value| *value != first) {
            return Err(Error::unsupported(&full, "different per layer", "the same in every layer"));
        }
        usize::try_from(first).map(Some).map_err(|_| Error::invalid(&full, first, "a non-negative integer"))
    }
}

/// The Llama-shaped decoder that a header describes; families change what differs.
pub(crate) fn dense(keys: &dyn Keys, name: &'static str, pairing: Pairing) -> Result<Decoder, Error> {
    let arch = Arch { keys, name };
    if let Some(experts) = arch.count("expert_count")?.filter(|n| *n > 0) {
        return Err(Error::unsupported(&arch.key("expert_count"), experts, "dense models (0 or absent)"));
    }
    let layers = arch.required("block_count")?;
    let width = arch.required("embedding_length")?;
    let heads = arch.uniform("attention.head_count", layers)?;
    let heads = heads.ok_or_else(|| Error::missing(&arch.key("attention.head_count"), "a positive integer"))?;
    let head_dim = arch.count("attention.key_length")?.unwrap_or(width / heads.max(1));
    let value_dim = arch.count("attention.value_length")?.unwrap_or(head_dim);
    if value_dim != head_dim {
        return Err(Error::unsupported(
            &arch.key("attention.value_length"),
            value_dim,
            format!("{head_dim}, the key's"),
        ));
    }
    let eps = arch.float("attention.layer_norm_rms_epsilon")?;
    let norm = Norm::Rms {
        eps: eps.ok_or_else(|| Error::missing(&arch.key("attention.layer_norm_rms_epsilon"), "a small number"))?,
    };
    let ffn = arch.uniform("feed_forward_length", layers)?;
    let window = arch.count("attention.sliding_window")?.filter(|window| *window > 0);
    let has = |tensor: &str| keys.shape(tensor).is_some();
    let gqa = Gqa {
        heads,
        kv_heads: arch.uniform("attention.head_count_kv", layers)?.unwrap_or(heads),
        head_dim,
        qkv_bias: has("blk.0.attn_q.bias") || has("blk.0.attn_qkv.bias"),
        out_bias: has("blk.0.attn_output.bias"),
        qk_norm: QkNorm::None,
        rope: Some(rope(&arch, head_dim, pairing)?),
        span: window.map_or(Span::Full, Span::Window),
        scale: arch.float("attention.scale")?.filter(|s| *s != 0.0).unwrap_or((head_dim as f32).powf(-0.5)),
    };
    let mlp = Mlp::Dense(Ffn {
        width: ffn.ok_or_else(|| Error::missing(&arch.key("feed_forward_length"), "a positive integer"))?,
        act: Act::Silu,
        bias: has("blk.0.ffn_up.bias"),
    });
    let layer = Layer { residual: Residual::PreNorm, norm, mixer: Mixer::Gqa(gqa), mlp };
    let embedding = keys.shape("token_embd.weight").and_then(|shape| shape.first().copied());
    Ok(Decoder {
        vocab: embedding.ok_or_else(|| Error::missing("token_embd.weight", "the embedding tensor"))?,
        width,
        context: arch.required("context_length")?,
        layers: layer.repeat(&arch.key("block_count"), layers)?,
        norm,
        tied_embeddings: !has("output.weight"),
        embedding_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        ends: Ends::BOTH,
    })
}

fn rope(arch: &Arch<'_>, head_dim: usize, pairing: Pairing) -> Result<Rope, Error> {
    let scaling = match arch.keys.values("rope_freqs.weight")? {
        Some(factors) => Scaling::Factors(factors),
        None => scaling(arch)?,
    };
    Ok(Rope {
        dim: arch.count("rope.dimension_count")?.unwrap_or(head_dim),
        pairing,
        theta: arch.float("rope.freq_base")?.unwrap_or(10000.0),
        scaling,
    })
}

/// A factor without a type is linear, as is the key of the first files, `rope.scale_linear`; 0 is none.
fn scaling(arch: &Arch<'_>) -> Result<Scaling, Error> {
    let factor = match arch.float("rope.scaling.factor")? {
        None => arch.float("rope.scale_linear")?,
        given => given,
    };
    let factor = factor.filter(|factor| *factor != 0.0);
    match arch.keys.text(&arch.key("rope.scaling.type"))?.as_deref() {
        Some("none") => Ok(Scaling::None),
        None | Some("linear") => Ok(factor.map_or(Scaling::None, |factor| Scaling::Linear { factor })),
        Some("yarn") => {
            let factor = factor.ok_or_else(|| Error::missing(&arch.key("rope.scaling.factor"), "a number"))?;
            let original = match arch.count("rope.scaling.original_context_length")? {
                None => arch.required("context_length")?,
                Some(original) => original,
            };
            Ok(Scaling::Yarn {
                factor,
                original: original as f32,
                beta_fast: arch.float("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: arch.float("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                cos_scale: arch.float("rope.scaling.attn_factor")?.unwrap_or(1.0) * yarn_magnitude(factor, 1.0),
                truncate: true,
            })
        }
        Some(other) => Err(Error::unsupported(&arch.key("rope.scaling.type"), other, "none, linear, yarn")),
    }
}
