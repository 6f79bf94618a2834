//! The published models whose shapes are imitated.

use plimsoll_formats::gguf::Value;
use plimsoll_model::{Decoder, Error, Family, Keys, Pairing, Rope, Scaling};

/// A published model's sizes; what follows from its family is the family's to say.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Name on the command line.
    pub name: &'static str,
    /// `general.architecture`
    pub architecture: &'static str,
    /// The demo model whose control tokens and chat template it has.
    pub demo: &'static str,
    pub layers: usize,
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Inner width of the feed-forward network.
    pub inner: usize,
    pub vocab: usize,
    pub context: usize,
    /// The head reads the embedding.
    pub tied: bool,
    /// Bias on q, k and v.
    pub bias: bool,
    pub eps: f32,
    pub rope_dim: usize,
    pub theta: f32,
    /// Llama 3's stretch of low frequencies, a tensor in GGUF.
    pub stretch: Option<f32>,
}

const LLAMA_8B: Shape = Shape {
    name: "llama-8b",
    architecture: "llama",
    demo: "llama",
    layers: 32,
    width: 4096,
    heads: 32,
    kv_heads: 8,
    head_dim: 128,
    inner: 14336,
    vocab: 128_256,
    context: 131_072,
    tied: false,
    bias: false,
    eps: 1e-5,
    rope_dim: 128,
    theta: 500_000.0,
    stretch: Some(8.0),
};

/// Llama 3.2 1B, Llama 3.1 8B, Qwen3 0.6B, Mistral 7B v0.3, GLM-4-0414 9B.
pub const SHAPES: [Shape; 5] = [
    Shape {
        name: "llama-1b",
        layers: 16,
        width: 2048,
        head_dim: 64,
        inner: 8192,
        tied: true,
        rope_dim: 64,
        stretch: Some(32.0),
        ..LLAMA_8B
    },
    LLAMA_8B,
    Shape {
        name: "qwen3-0.6b",
        architecture: "qwen3",
        demo: "qwen",
        layers: 28,
        width: 1024,
        heads: 16,
        inner: 3072,
        vocab: 151_936,
        context: 40_960,
        tied: true,
        eps: 1e-6,
        theta: 1_000_000.0,
        stretch: None,
        ..LLAMA_8B
    },
    Shape {
        name: "mistral-7b",
        demo: "mistral",
        vocab: 32_768,
        context: 32_768,
        theta: 1_000_000.0,
        stretch: None,
        ..LLAMA_8B
    },
    Shape {
        name: "glm-4-9b",
        architecture: "glm4",
        demo: "glm",
        layers: 40,
        kv_heads: 2,
        inner: 13_696,
        vocab: 151_552,
        context: 32_768,
        bias: true,
        rope_dim: 64,
        theta: 10_000.0,
        stretch: None,
        ..LLAMA_8B
    },
];

impl Shape {
    /// The shape of that name.
    pub fn named(name: &str) -> Option<Self> {
        SHAPES.into_iter().find(|shape| shape.name == name)
    }

    /// What our loader makes of these sizes.
    pub fn decoder(&self) -> Result<(&'static Family, Decoder), Error> {
        Family::read_gguf(self.name, &Header { shape: self, keys: self.keys() })
    }

    /// The keys that describe it, `general.architecture` first.
    pub fn keys(&self) -> Vec<(String, Value)> {
        let sizes = [
            ("vocab_size", self.vocab),
            ("context_length", self.context),
            ("embedding_length", self.width),
            ("block_count", self.layers),
            ("feed_forward_length", self.inner),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("rope.dimension_count", self.rope_dim),
        ];
        let floats = [("rope.freq_base", self.theta), ("attention.layer_norm_rms_epsilon", self.eps)];
        let sizes = sizes.map(|(key, size)| (key, Value::U32(size as u32)));
        let floats = floats.map(|(key, number)| (key, Value::F32(number)));
        let own = sizes.into_iter().chain(floats).map(|(key, value)| (format!("{}.{key}", self.architecture), value));
        std::iter::once(("general.architecture".to_owned(), self.architecture.into())).chain(own).collect()
    }

    /// `rope_freqs.weight`: a divisor for each frequency, `[rope_dim / 2]`.
    pub fn rope_factors(&self) -> Option<Vec<f32>> {
        let table = |scaling| {
            let rope = Rope { dim: self.rope_dim, pairing: Pairing::Adjacent, theta: self.theta, scaling };
            rope.table().inv_freq
        };
        let scaling = Scaling::Llama3 { factor: self.stretch?, low: 1.0, high: 4.0, original: 8192.0 };
        Some(table(Scaling::None).into_iter().zip(table(scaling)).map(|(plain, scaled)| plain / scaled).collect())
    }
}

/// The header of a file that is not written yet.
struct Header<'a> {
    shape: &'a Shape,
    keys: Vec<(String, Value)>,
}

impl Header<'_> {
    fn get<T>(&self, key: &str, convert: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, Error> {
        Ok(self.keys.iter().find(|(known, _)| known == key).and_then(|(_, value)| convert(value)))
    }
}

impl Keys for Header<'_> {
    fn int(&self, key: &str) -> Result<Option<i64>, Error> {
        self.get(key, |value| if let Value::U32(x) = value { Some((*x).into()) } else { None })
    }

    fn ints(&self, key: &str) -> Result<Option<Vec<i64>>, Error> {
        Ok(self.int(key)?.map(|value| vec![value]))
    }

    fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        self.get(key, |value| if let Value::F32(x) = value { Some(*x) } else { None })
    }

    fn text(&self, key: &str) -> Result<Option<String>, Error> {
        self.get(key, |value| if let Value::String(text) = value { String::from_utf8(text.clone()).ok() } else { None })
    }

    /// Families ask for the embedding's rows, and else only whether a tensor is there.
    fn shape(&self, tensor: &str) -> Option<Vec<usize>> {
        let there = match tensor {
            "output.weight" => !self.shape.tied,
            "token_embd.weight" => true,
            _ => self.shape.bias && tensor == "blk.0.attn_q.bias",
        };
        there.then(|| vec![self.shape.vocab, self.shape.width])
    }

    fn values(&self, tensor: &str) -> Result<Option<Vec<f32>>, Error> {
        Ok(if tensor == "rope_freqs.weight" { self.shape.rope_factors() } else { None })
    }
}
