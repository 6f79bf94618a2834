//! SHA-256 values, their two spellings, and the digest of a set of files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::FilePath;

/// A SHA-256, spelled as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is not a SHA-256: 64 lower-case hex digits expected", shortened(text));
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(wrong());
        }
        let mut value = [0; 32];
        for (byte, pair) in value.iter_mut().zip(digits.chunks_exact(2)) {
            for &digit in pair {
                let nibble = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(wrong()),
                };
                *byte = *byte << 4 | nibble;
            }
        }
        Ok(Self(value))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(value: Sha256) -> Self {
        value.to_string()
    }
}

/// A SHA-256 that names its algorithm: `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub Sha256);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::of(bytes))
    }

    /// The digest of several slices, one after the other.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = sha2::Sha256::new();
        parts.into_iter().for_each(|part| hasher.update(part));
        Self(Sha256(hasher.finalize().into()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sha256:") {
            Some(hex) => hex.parse().map(Self),
            None => Err(format!("`{}` is not a digest: `sha256:` and 64 hex digits expected", shortened(text))),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(value: Digest) -> Self {
        value.to_string()
    }
}

/// One digest over a set of files: the SHA-256 of their raw 32-byte SHA-256 values, one after the other, in the order
/// of their paths compared component by component (so `a/b` comes before `a-b`).
///
/// This is the subject digest that OpenSSF model signing v1 computes for a model serialized by files
/// (`model_signing` 1.1.1, `signing.py` and `manifest.py`). File names are not part of it, only their order; a signature
/// names the files beside it, as the lock does.
pub fn digest_of_files<'a>(files: impl IntoIterator<Item = (&'a FilePath, Sha256)>) -> Digest {
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort();
    let mut hasher = sha2::Sha256::new();
    files.iter().for_each(|(_, sha256)| hasher.update(sha256.0));
    Digest(Sha256(hasher.finalize().into()))
}

/// The start of a text that came from outside: enough to find it, not enough to fill a screen.
pub(crate) fn shortened(text: &str) -> String {
    let visible = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    let end = if text.chars().nth(80).is_some() { "…" } else { "" };
    text.chars().take(80).map(visible).chain([end.into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn one_spelling_of_a_hash() {
        assert_eq!(Sha256::of(b"abc").to_string(), ABC);
        assert_eq!(ABC.parse::<Sha256>(), Ok(Sha256::of(b"abc")));
        assert_eq!(format!("sha256:{ABC}").parse::<Digest>(), Ok(Digest::of(b"abc")));
        assert_eq!(Digest::of_parts([&b"a"[..], b"", b"bc"]), Digest::of(b"abc"));
        let cases = [
            "",
            "ab",
            &ABC[1..],
            &ABC.to_uppercase(),
            &format!("{ABC}0"),
            &ABC.replace('b', "é"),
            &ABC.replace('b', "g"),
        ];
        for case in cases {
            assert!(case.parse::<Sha256>().is_err(), "{case}");
            assert!(format!("sha256:{case}").parse::<Digest>().is_err(), "{case}");
        }
        assert!(ABC.parse::<Digest>().unwrap_err().contains("`sha256:`"));
        assert!(format!("sha512:{ABC}").parse::<Digest>().is_err());
    }

    /// The value is what `model_signing` 1.1.1 gives as subject digest for a folder of these three files.
    #[test]
    fn files_are_ordered_by_components() {
        let path = |text: &str| text.parse::<FilePath>().unwrap();
        let (nested, dash, plain) = (path("a/b"), path("a-b"), path("c"));
        let files = [(&plain, Sha256::of(b"3")), (&dash, Sha256::of(b"2")), (&nested, Sha256::of(b"1"))];
        let expected = "sha256:1ea51598cbb9b3744ebfe90ff77cdee9f3c646b25808015c78bb7aa070961c3d";
        assert_eq!(digest_of_files(files).to_string(), expected);
    }
}
