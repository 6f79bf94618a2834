//! What is trained: one entry a demo model.

use plimsoll_model::{
    Act, Decoder, Ends, Ffn, Gqa, Layer, Mixer, Mlp, Norm, Pairing, QkNorm, Residual, Rope, Scaling, Span,
};

use super::chat::{CHATML, Format, GLM4, LLAMA3, MISTRAL};

/// A demo model and how it is made.
pub struct Recipe {
    /// Folder under `models/`.
    pub name: &'static str,
    /// Name of its family.
    pub family: &'static str,
    /// How it is shipped.
    pub ship: Ship,
    /// Its vocabulary.
    pub tokens: Tokens,
    /// How it writes conversations.
    pub format: &'static Format,
    /// Where it differs from Llama.
    shape: Shape,
    /// The demo model whose knowledge it starts from, as far as that fits.
    pub from: Option<&'static str>,
    /// Optimizer steps.
    pub steps: usize,
    /// Of parameters and data.
    pub seed: u64,
}

/// A kind of checkpoint.
pub enum Ship {
    /// BF16, with Hugging Face's companions.
    Safetensors,
    /// One file, matrices in Q8_0.
    Gguf,
}

/// A byte-level BPE vocabulary.
pub struct Tokens {
    /// Tokens in all.
    pub vocab: usize,
    /// The pre-tokenizer's pattern at run time. Digits stay single whatever it says: the merges were learned so.
    pub pattern: &'static str,
    /// `tokenizer.ggml.pre`
    pub pre: &'static str,
    /// NFC before everything.
    pub nfc: bool,
    /// A piece that is a token is not merged step by step.
    pub ignore_merges: bool,
    /// Control tokens.
    pub specials: &'static [&'static str],
    /// They come before the alphabet, not after all others.
    pub specials_first: bool,
    /// Begin of text, if the family has one.
    pub bos: Option<&'static str>,
    /// `eos_token`
    pub eos: &'static str,
    /// Ends an answer, where it is not `eos` alone.
    pub eot: Option<&'static str>,
    /// `pad_token`
    pub padding: Option<&'static str>,
}

struct Shape {
    residual: Residual,
    qk_norm: QkNorm,
    qkv_bias: bool,
    pairing: Pairing,
    rope_dim: usize,
    theta: f32,
    span: Span,
    tied: bool,
    eps: f32,
}

const LLAMA_SHAPE: Shape = Shape {
    residual: Residual::PreNorm,
    qk_norm: QkNorm::None,
    qkv_bias: false,
    pairing: Pairing::Half,
    rope_dim: HEAD_DIM,
    theta: 10_000.0,
    span: Span::Full,
    tied: true,
    eps: 1e-5,
};

const WIDTH: usize = 256;
const LAYERS: usize = 4;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 64;
const FFN: usize = 512;
const CONTEXT: usize = 512;

const GPT4_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN_WORDS: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The demo models; the first is the default.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "llama",
        family: "llama",
        ship: Ship::Gguf,
        tokens: Tokens {
            vocab: 1024,
            pattern: GPT4_WORDS,
            pre: "llama-bpe",
            nfc: false,
            ignore_merges: true,
            specials: &[
                "<|begin_of_text|>",
                "<|end_of_text|>",
                "<|start_header_id|>",
                "<|end_header_id|>",
                "<|eot_id|>",
            ],
            specials_first: false,
            bos: Some("<|begin_of_text|>"),
            eos: "<|eot_id|>",
            eot: Some("<|eot_id|>"),
            padding: None,
        },
        format: &LLAMA3,
        shape: LLAMA_SHAPE,
        from: None,
        steps: 7500,
        seed: 1,
    },
    Recipe {
        name: "mistral",
        family: "mistral",
        ship: Ship::Safetensors,
        tokens: Tokens {
            vocab: 960,
            pattern: TEKKEN_WORDS,
            pre: "tekken",
            nfc: false,
            ignore_merges: true,
            specials: &["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"],
            specials_first: true,
            bos: Some("<s>"),
            eos: "</s>",
            eot: None,
            padding: None,
        },
        format: &MISTRAL,
        shape: Shape { span: Span::Window(64), tied: false, ..LLAMA_SHAPE },
        from: Some("llama"),
        steps: 2000,
        seed: 2,
    },
    Recipe {
        name: "qwen",
        family: "qwen3",
        ship: Ship::Gguf,
        tokens: Tokens {
            vocab: 896,
            pattern: QWEN_WORDS,
            pre: "qwen2",
            nfc: true,
            ignore_merges: false,
            specials: &["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            specials_first: false,
            bos: None,
            eos: "<|im_end|>",
            eot: None,
            padding: Some("<|endoftext|>"),
        },
        format: &CHATML,
        shape: Shape { qk_norm: QkNorm::Head, eps: 1e-6, theta: 100_000.0, ..LLAMA_SHAPE },
        from: Some("llama"),
        steps: 1800,
        seed: 3,
    },
    Recipe {
        name: "glm",
        family: "glm4",
        ship: Ship::Gguf,
        tokens: Tokens {
            vocab: 832,
            pattern: GPT4_WORDS,
            pre: "glm4",
            nfc: false,
            ignore_merges: true,
            specials: &[
                "<|endoftext|>",
                "[gMASK]",
                "<sop>",
                "<|system|>",
                "<|user|>",
                "<|assistant|>",
                "<|observation|>",
            ],
            specials_first: false,
            bos: None,
            eos: "<|endoftext|>",
            eot: Some("<|user|>"),
            padding: Some("<|endoftext|>"),
        },
        format: &GLM4,
        shape: Shape {
            residual: Residual::Sandwich,
            qkv_bias: true,
            pairing: Pairing::Adjacent,
            rope_dim: HEAD_DIM / 2,
            tied: false,
            ..LLAMA_SHAPE
        },
        from: Some("llama"),
        steps: 2000,
        seed: 4,
    },
];

impl Recipe {
    /// The recipe of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        RECIPES.iter().find(|recipe| recipe.name == name)
    }

    /// The model's description.
    pub fn decoder(&self) -> Decoder {
        let shape = &self.shape;
        let norm = Norm::Rms { eps: shape.eps };
        let rope = Rope { dim: shape.rope_dim, pairing: shape.pairing, theta: shape.theta, scaling: Scaling::None };
        let mixer = Mixer::Gqa(Gqa {
            heads: HEADS,
            kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
            qkv_bias: shape.qkv_bias,
            out_bias: false,
            qk_norm: shape.qk_norm,
            rope: Some(rope),
            span: shape.span,
            scale: (HEAD_DIM as f32).sqrt().recip(),
        });
        let mlp = Mlp::Dense(Ffn { width: FFN, act: Act::Silu, bias: false });
        Decoder {
            vocab: self.tokens.vocab,
            width: WIDTH,
            context: CONTEXT,
            layers: vec![Layer { residual: shape.residual, norm, mixer, mlp }; LAYERS],
            norm,
            tied_embeddings: shape.tied,
            embedding_scale: 1.0,
            logit_scale: 1.0,
            logit_softcap: None,
            ends: Ends::BOTH,
        }
    }
}
