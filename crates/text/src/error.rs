//! What can go wrong with tokenizers and templates.

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or a GGUF key does not hold what it must.
    #[error("{file}: {field}: found {found}, expected {expected}")]
    Malformed {
        /// Where: `tokenizer.json`, the name of a GGUF file.
        file: String,
        /// The field or key inside it.
        field: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// Well formed, but nothing this crate can do.
    #[error("{file}: {field}: `{found}` is not supported, only {supported}")]
    Unsupported {
        /// Where: `tokenizer.json`, the name of a GGUF file.
        file: String,
        /// The field or key inside it.
        field: String,
        /// What is there.
        found: String,
        /// What would work.
        supported: String,
    },
    /// A GGUF key of the wrong type.
    #[error(transparent)]
    Formats(#[from] plimsoll_formats::Error),
    /// More text than one call tokenizes.
    #[error("text of {bytes} bytes, at most {limit} can be tokenized at once")]
    TooLong {
        /// Length of the text.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Bytes that are not UTF-8, for a tokenizer that works on characters.
    #[error("byte {offset} is not UTF-8, and this tokenizer has no tokens for single bytes")]
    NotUtf8 {
        /// Offset of the first bad byte.
        offset: usize,
    },
    /// The tokenizer gave up on a text.
    #[error("tokenizing failed: {0}")]
    Tokenize(String),
    /// A token id that the vocabulary does not have.
    #[error("token id {id}, but the vocabulary has {vocab} tokens")]
    UnknownId {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A chat template that does not parse.
    #[error("chat template, line {line}: {message}")]
    Syntax {
        /// 1-based line in the template.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A chat template that failed on a conversation.
    #[error("chat template, line {line}: {message}")]
    Render {
        /// 1-based line in the template.
        line: usize,
        /// What went wrong there.
        message: String,
    },
    /// The template refused the conversation with `raise_exception`.
    #[error("the chat template refuses the conversation: {message}")]
    Refused {
        /// The template's words.
        message: String,
    },
    /// A chat template that does not come to an end, or makes too much of itself.
    #[error("chat template stopped: {0}")]
    Endless(String),
    /// Text of a control token inside a message, where the template acts on that very text.
    #[error(
        "a message contains the text of control tokens, and the chat template treats it as its own: \
         cannot tell them apart"
    )]
    Ambiguous,
    /// No chat template where one is needed.
    #[error("no chat template named `{name}`; there are: {known}")]
    NoTemplate {
        /// The wanted name.
        name: String,
        /// Names that exist, or "none".
        known: String,
    },
}

impl Error {
    pub(crate) fn malformed(
        file: &str,
        field: impl Into<String>,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(crate) fn unsupported(
        file: &str,
        field: impl Into<String>,
        found: impl ToString,
        supported: impl Into<String>,
    ) -> Self {
        Self::Unsupported {
            file: file.to_owned(),
            field: field.into(),
            found: found.to_string(),
            supported: supported.into(),
        }
    }
}
