//! Pieces of a vocabulary as bytes: the byte-level alphabet of GPT-2, and SentencePiece's spaces and byte tokens.

/// SentencePiece's visible space, U+2581.
pub(super) const SPACE: char = '\u{2581}';

/// How the strings of a vocabulary stand for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Every byte is one printable character (GPT-2).
    ByteLevel,
    /// UTF-8 with U+2581 for spaces and `<0xXX>` for bytes.
    SentencePiece,
    /// UTF-8 as it is.
    Plain,
}

impl Spelling {
    /// The bytes a piece of ordinary text stands for.
    pub(super) fn bytes(self, piece: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => byte_level(piece).unwrap_or_else(|| piece.as_bytes().to_vec()),
            Self::SentencePiece => match byte_token(piece) {
                Some(byte) => vec![byte],
                None => piece.replace(SPACE, " ").into_bytes(),
            },
            Self::Plain => piece.as_bytes().to_vec(),
        }
    }

    /// The piece of a single byte, if this spelling has one.
    pub(super) fn piece(self, byte: u8) -> Option<String> {
        match self {
            Self::ByteLevel => Some(char_of(byte).to_string()),
            Self::SentencePiece => Some(format!("<0x{byte:02X}>")),
            Self::Plain => None,
        }
    }
}

/// `<0xXX>` to its byte.
pub(super) fn byte_token(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The bytes of a byte-level piece; `None` if a character is outside the alphabet.
fn byte_level(piece: &str) -> Option<Vec<u8>> {
    piece.chars().map(byte_of).collect()
}

/// GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes in order for U+0100 and up.
fn char_of(byte: u8) -> char {
    match byte {
        0..=32 => shifted(u32::from(byte)),
        127..=160 => shifted(u32::from(byte) - 127 + 33),
        173 => shifted(67),
        _ => char::from(byte),
    }
}

fn shifted(index: u32) -> char {
    char::from_u32(0x100 + index).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (33..=126 | 161..=172 | 174..=255) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 127).ok(),
        0x143 => Some(173),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_a_bijection_and_gpt2s() {
        let alphabet: Vec<char> = (0..=255).map(char_of).collect();
        for (byte, &c) in (0..=255u8).zip(&alphabet) {
            assert_eq!(byte_of(c), Some(byte), "{c}");
        }
        assert_eq!(char_of(b' '), 'Ġ');
        assert_eq!(char_of(b'\n'), 'Ċ');
        assert_eq!(char_of(0xAD), 'Ń');
        let reference = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        assert!(alphabet.iter().all(|c| reference.contains(c)));
    }

    #[test]
    fn pieces_become_bytes() {
        let cases: [(Spelling, &str, &[u8]); 8] = [
            (Spelling::ByteLevel, "Ġhé", &[b' ', b'h', 0xE9]),
            (Spelling::ByteLevel, "<｜User｜>", "<｜User｜>".as_bytes()),
            (Spelling::SentencePiece, "▁a▁", b" a "),
            (Spelling::SentencePiece, "<0x0A>", b"\n"),
            (Spelling::SentencePiece, "<0xff>", &[255]),
            (Spelling::SentencePiece, "<0x+1>", b"<0x+1>"),
            (Spelling::SentencePiece, "<0x100>", b"<0x100>"),
            (Spelling::Plain, "▁", "▁".as_bytes()),
        ];
        for (spelling, piece, bytes) in cases {
            assert_eq!(spelling.bytes(piece), bytes, "{piece}");
        }
    }
}
