//! The tokens of a model: their bytes and kinds by id.

/// What a token is, as GGUF's `tokenizer.ggml.token_type` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// Text.
    Normal,
    /// What stands for text outside the vocabulary.
    Unknown,
    /// Structure: `<s>`, `<|im_end|>`. Never produced from the text of a user.
    Control,
    /// Text that is always one token: `<think>`, runs of spaces.
    UserDefined,
    /// A row without meaning.
    Unused,
    /// A single byte.
    Byte,
}

/// Longest token in bytes.
pub(super) const MAX_TOKEN: usize = 64 << 10;

/// Bytes of all tokens in one allocation.
#[derive(Default)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    kinds: Vec<Option<TokenKind>>,
}

impl Vocabulary {
    /// Appends the token of the next id; `None` is an id without a token.
    pub(super) fn push(&mut self, token: Option<(&[u8], TokenKind)>) {
        self.bytes.extend_from_slice(token.map_or(&[], |(bytes, _)| bytes));
        self.ends.push(self.bytes.len());
        self.kinds.push(token.map(|(_, kind)| kind));
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        *self.kinds.get(usize::try_from(id).ok()?)?
    }

    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        self.kind(id)?;
        let id = usize::try_from(id).ok()?;
        let start = id.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bytes.get(start..*self.ends.get(id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_by_id() {
        let mut vocabulary = Vocabulary::default();
        vocabulary.push(Some((b"a", TokenKind::Normal)));
        vocabulary.push(None);
        vocabulary.push(Some((b"", TokenKind::Unused)));
        vocabulary.push(Some((b"bc", TokenKind::Control)));
        let bytes: Vec<_> = (0..5).map(|id| vocabulary.bytes(id)).collect();
        assert_eq!(bytes, [Some(&b"a"[..]), None, Some(&b""[..]), Some(&b"bc"[..]), None]);
        assert_eq!(vocabulary.kind(3), Some(TokenKind::Control));
        assert_eq!((vocabulary.kind(1), vocabulary.kind(4)), (None, None));
    }
}
