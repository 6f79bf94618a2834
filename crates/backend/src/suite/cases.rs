//! The models of the suite: one feature each beside plain Llama, then one per block type.

use plimsoll_formats::blocks::{BlockType, F32, TABLE};
use plimsoll_model::*;

/// A small model to check ops on.
pub struct Case {
    /// Name in messages.
    pub name: &'static str,
    /// The model.
    pub decoder: Decoder,
    /// Type of its matrices.
    pub block: &'static BlockType,
}

impl Case {
    /// Widths of the queries and inside the MLP.
    pub(super) fn widths(&self) -> (usize, usize) {
        let Mixer::Gqa(gqa) = &self.decoder.layers[0].mixer;
        let Mlp::Dense(ffn) = &self.decoder.layers[0].mlp;
        (gqa.q_width(), ffn.width)
    }
}

fn plain(width: usize, heads: usize, kv_heads: usize, head_dim: usize, inner: usize) -> Decoder {
    let gqa = Gqa {
        heads,
        kv_heads,
        head_dim,
        qkv_bias: false,
        out_bias: false,
        qk_norm: QkNorm::None,
        rope: Some(Rope { dim: head_dim, pairing: Pairing::Half, theta: 10000.0, scaling: Scaling::None }),
        span: Span::Full,
        scale: (head_dim as f32).powf(-0.5),
    };
    let norm = Norm::Rms { eps: 1e-5 };
    let mlp = Mlp::Dense(Ffn { width: inner, act: Act::Silu, bias: false });
    let layer = Layer { residual: Residual::PreNorm, norm, mixer: Mixer::Gqa(gqa), mlp };
    Decoder {
        vocab: 99,
        width,
        context: 96,
        layers: vec![layer; 2],
        norm,
        tied_embeddings: false,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        ends: Ends::BOTH,
    }
}

fn with(change: impl Fn(&mut Layer, &mut Gqa)) -> Decoder {
    let mut decoder = plain(48, 6, 2, 8, 80);
    for layer in &mut decoder.layers {
        let Mixer::Gqa(mut gqa) = layer.mixer.clone();
        change(layer, &mut gqa);
        layer.mixer = Mixer::Gqa(gqa);
    }
    decoder
}

fn with_rope(dim: usize, pairing: Pairing, scaling: Scaling) -> Decoder {
    with(|_, gqa| gqa.rope = Some(Rope { dim, pairing, theta: 100.0, scaling: scaling.clone() }))
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let yarn =
        Scaling::Yarn { factor: 4.0, original: 16.0, beta_fast: 32.0, beta_slow: 1.0, cos_scale: 1.14, truncate: true };
    let scaled = Decoder {
        tied_embeddings: true,
        embedding_scale: 1.5,
        logit_scale: 0.5,
        logit_softcap: Some(3.0),
        ..with(|_, _| {})
    };
    let features = [
        ("plain", with(|_, _| {})),
        ("no grouping, odd sizes", plain(51, 3, 3, 10, 37)),
        ("one kv head", plain(48, 5, 1, 12, 80)),
        ("tied, scaled, capped", scaled),
        (
            "biases",
            with(|layer, gqa| {
                (gqa.qkv_bias, gqa.out_bias) = (true, true);
                layer.mlp = Mlp::Dense(Ffn { width: 80, act: Act::Silu, bias: true });
            }),
        ),
        ("head norm", with(|_, gqa| gqa.qk_norm = QkNorm::Head)),
        ("sandwich", with(|layer, _| layer.residual = Residual::Sandwich)),
        ("window", with(|_, gqa| gqa.span = Span::Window(5))),
        ("no rope", with(|_, gqa| gqa.rope = None)),
        ("adjacent pairs", with_rope(8, Pairing::Adjacent, Scaling::None)),
        ("half of the head, adjacent", with_rope(4, Pairing::Adjacent, Scaling::Linear { factor: 2.0 })),
        ("half of the head", with_rope(4, Pairing::Half, Scaling::Factors(vec![1.0, 3.0]))),
        (
            "llama3 rope",
            with_rope(8, Pairing::Half, Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 16.0 }),
        ),
        ("yarn", with_rope(8, Pairing::Half, yarn)),
    ];
    let features = features.into_iter().map(|(name, decoder)| Case { name, decoder, block: &F32 });
    let blocks = TABLE.iter().map(|block| Case { name: block.name, decoder: plain(256, 4, 2, 64, 512), block });
    features.chain(blocks).collect()
}
