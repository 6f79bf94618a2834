//! Tokens with a role.

/// How [`encode`](super::Tokenizer::encode) treats special tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Special {
    /// Add what the model puts around a text: usually a BOS in front.
    pub affixes: bool,
    /// Text like `<|im_end|>` becomes the control token; otherwise it stays text.
    pub parse: bool,
}

impl Special {
    /// A raw prompt: BOS added, control tokens recognized.
    pub const PROMPT: Self = Self { affixes: true, parse: true };
    /// The output of a chat template, which writes its own BOS.
    pub const TEMPLATE: Self = Self { affixes: false, parse: true };
    /// Text that is only text.
    pub const TEXT: Self = Self { affixes: false, parse: false };
}

/// Ids of tokens with a role; `None` where the model has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpecialIds {
    /// Beginning of a text.
    pub bos: Option<u32>,
    /// End of a text.
    pub eos: Option<u32>,
    /// End of a turn.
    pub eot: Option<u32>,
    /// End of a message that expects a tool's answer.
    pub eom: Option<u32>,
    /// Stands for text outside the vocabulary.
    pub unknown: Option<u32>,
    /// Padding.
    pub padding: Option<u32>,
    /// Fill in the middle: before the prefix, the suffix and the middle.
    pub fim_prefix: Option<u32>,
    /// See [`fim_prefix`](Self::fim_prefix).
    pub fim_suffix: Option<u32>,
    /// See [`fim_prefix`](Self::fim_prefix).
    pub fim_middle: Option<u32>,
}
