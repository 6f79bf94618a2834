//! The patterns of `include`: `*` is any run of characters inside one component, `?` is one character.

use std::str::FromStr;

use serde::Deserialize;

use crate::FilePath;

/// A pattern over the path of a file inside a model, such as `*.safetensors` or `onnx/*.json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Glob(FilePath);

impl Glob {
    /// Whether `path` is meant.
    pub fn matches(&self, path: &FilePath) -> bool {
        let mut patterns = self.0.as_str().split('/');
        let mut parts = path.as_str().split('/');
        loop {
            match (patterns.next(), parts.next()) {
                (None, None) => return true,
                (Some(pattern), Some(part)) if component(pattern, part) => {}
                _ => return false,
            }
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The usual two-pointer match: on a mismatch the last `*` takes one character more, so the work is at most the product
/// of the lengths.
fn component(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut retry = None;
    loop {
        let (mut after_pattern, mut after_text) = (pattern.clone(), text.clone());
        match (after_pattern.next(), after_text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((after_pattern.clone(), text.clone()));
                pattern = after_pattern;
            }
            (Some(p), Some(t)) if p == '?' || p == t => (pattern, text) = (after_pattern, after_text),
            _ => {
                let Some((star, rest)) = retry.as_mut() else { return false };
                if rest.next().is_none() {
                    return false;
                }
                (pattern, text) = (star.clone(), rest.clone());
            }
        }
    }
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("**") || text.contains(['[', ']', '{', '}']) {
            return Err(format!("pattern `{}`: only `*` and `?` are known", text.escape_debug()));
        }
        text.parse().map(Self).map_err(|reason: String| format!("pattern: {reason}"))
    }
}

impl TryFrom<String> for Glob {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_inside_components() {
        let cases = [
            ("*.json", "config.json", true),
            ("*.json", "a/config.json", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("a/*", "a/b", true),
            ("a/*", "a", false),
            ("LICENSE*", "LICENSE", true),
            ("LICENSE*", "LICENSE.txt", true),
            ("LICENSE*", "MY-LICENSE", false),
            ("m-?.gguf", "m-1.gguf", true),
            ("m-?.gguf", "m-é.gguf", true),
            ("m-?.gguf", "m-12.gguf", false),
            ("*a*b*c", "xaxxbxbc", true),
            ("*a*b*c", "xaxxbxb", false),
        ];
        for (pattern, path, expected) in cases {
            let found = pattern.parse::<Glob>().unwrap().matches(&path.parse().unwrap());
            assert_eq!(found, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for bad in ["", "**/a", "[ab]", "{a,b}", "../*", "/a", "a\\b"] {
            assert!(bad.parse::<Glob>().is_err(), "{bad}");
        }
    }
}
