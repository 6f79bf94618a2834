//! Tokens to text as they come, in whole characters.

/// Joins the bytes of tokens into text, holding back what may become a character.
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    pending: Vec<u8>,
    strip_space: bool,
}

impl Detokenizer {
    pub(crate) fn new(strip_space: bool) -> Self {
        Self { pending: Vec::new(), strip_space }
    }

    /// Takes the bytes of the next token ([`Tokenizer::token_bytes`](crate::Tokenizer::token_bytes)), gives the
    /// characters that are complete with them. Bytes that no character can begin with become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut bytes = bytes;
        if self.strip_space && !bytes.is_empty() {
            self.strip_space = false;
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut used = 0;
        for chunk in self.pending.utf8_chunks() {
            let end = used + chunk.valid().len() + chunk.invalid().len();
            text.push_str(chunk.valid());
            let unfinished = end == self.pending.len() && is_prefix(chunk.invalid());
            if unfinished {
                used += chunk.valid().len();
                break;
            }
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            used = end;
        }
        self.pending.drain(..used);
        text
    }

    /// The end: what is left of an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

/// Whether more bytes could make these a character.
fn is_prefix(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_characters_come_out() {
        type Case<'a> = (&'a [&'a [u8]], &'a [&'a str], &'a str);
        let cases: [Case<'_>; 7] = [
            (&[b"a", b"b"], &["a", "b"], ""),
            (&[b"\xE4", b"\xB8", b"\xAD!"], &["", "", "中!"], ""),
            (&[b"x\xF0\x9F", b"\x98", b"\x80"], &["x", "", "😀"], ""),
            (&[b"\xFF", b"a"], &["\u{FFFD}", "a"], ""),
            (&[b"\xE4", b"a"], &["", "\u{FFFD}a"], ""),
            (&[b"a\xE4\xB8"], &["a"], "\u{FFFD}"),
            (&["\u{FFFD}".as_bytes()], &["\u{FFFD}"], ""),
        ];
        for (tokens, texts, rest) in cases {
            let mut detokenizer = Detokenizer::new(false);
            let out: Vec<String> = tokens.iter().map(|token| detokenizer.push(token)).collect();
            assert_eq!(out, texts);
            assert_eq!(detokenizer.finish(), rest);
            assert_eq!(detokenizer.finish(), "");
        }
    }

    #[test]
    fn one_space_is_dropped_at_the_very_start_only() {
        let mut detokenizer = Detokenizer::new(true);
        let text: String = [&b""[..], b" a", b" b"].iter().map(|token| detokenizer.push(token)).collect();
        assert_eq!(text, "a b");
        let mut detokenizer = Detokenizer::new(true);
        assert_eq!(detokenizer.push(b"a"), "a");
        assert_eq!(detokenizer.push(b" b"), " b");
    }

    #[test]
    fn any_cut_gives_the_same_text() {
        let text = "aé中😀\u{FFFD}z".as_bytes();
        for size in 1..=text.len() {
            let mut detokenizer = Detokenizer::new(false);
            let out: String = text.chunks(size).map(|token| detokenizer.push(token)).collect();
            assert_eq!(out.as_bytes(), text);
        }
    }
}
