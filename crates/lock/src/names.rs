//! Names of models and of their files, checked once where text comes in.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::shortened;

/// The longest name of a model, in bytes.
const MAX_NAME: usize = 64;
/// The longest path of a file inside a model, in bytes.
const MAX_PATH: usize = 1024;

/// The name of a model: letters, digits, `.`, `_` and `-`, first a letter or a digit. `default` is not a name: it stands
/// for the model that `models.toml` chose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// The path of a file inside a model: relative, `/` between components, no `.`, no `..`, nothing that any system reads
/// as a drive, a stream or a control character. Ordered component by component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let reason = match text {
            "default" => "`default` stands for the model that models.toml chooses",
            _ if text.len() > MAX_NAME => "at most 64 characters are allowed",
            _ if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) => "it must begin with a letter or a digit",
            _ if !text.chars().all(legal) => "only letters, digits, `.`, `_` and `-` are allowed",
            _ => return Ok(Self(text.into())),
        };
        Err(format!("`{}` cannot be the name of a model: {reason}", shortened(text)))
    }
}

impl FromStr for FilePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let reason = match text {
            _ if text.len() > MAX_PATH => "it is longer than 1024 bytes",
            _ if text.starts_with('/') => "it is absolute",
            _ if text.contains(['\\', ':']) => "`\\` and `:` are not allowed",
            _ if text.chars().any(char::is_control) => "control characters are not allowed",
            _ if text.split('/').any(|part| part == "..") => "`..` leaves the model's folder",
            _ if text.split('/').any(|part| matches!(part, "" | ".")) => "a component is empty or `.`",
            _ => return Ok(Self(text.into())),
        };
        Err(format!("`{}` cannot be a file of a model: {reason}", shortened(text)))
    }
}

impl FilePath {
    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Whether this is a licence text: `LICENSE*`, `LICENCE*`, `COPYING*`, `USE_POLICY*` or `NOTICE*` in the model's top
    /// folder, in any case.
    pub fn is_license_text(&self) -> bool {
        let name = self.0.to_ascii_uppercase();
        !name.contains('/')
            && ["LICENSE", "LICENCE", "COPYING", "USE_POLICY", "NOTICE"].iter().any(|start| name.starts_with(start))
    }

    /// Whether this file holds tensors.
    pub fn is_weights(&self) -> bool {
        [".safetensors", ".gguf"].iter().any(|end| self.0.ends_with(end))
    }
}

impl Ord for FilePath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.split('/').cmp(other.0.split('/'))
    }
}

impl PartialOrd for FilePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What both have in common: they are texts that were checked when they were made.
macro_rules! checked_text {
    ($type:ident) => {
        impl $type {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }
    };
}

checked_text!(Name);
checked_text!(FilePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["chat", "Qwen2.5-7B", "a", "9_b"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in ["", "default", ".a", "-a", "a b", "a/b", "é", "a\n", &long] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths() {
        for good in ["a", "model-00001-of-00002.safetensors", "a/b/c.json", "...", "ünï.json", "a b"] {
            assert_eq!(good.parse::<FilePath>().unwrap().as_str(), good);
        }
        let long = "a".repeat(1025);
        for bad in
            ["", "/", "/etc/passwd", "..", "a/../b", "../a", "./a", "a//b", "a/", "a\\b", "C:a", "a\0b", "a\nb", &long]
        {
            assert!(bad.parse::<FilePath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn kinds_of_files() {
        let path = |text: &str| text.parse::<FilePath>().unwrap();
        for text in ["LICENSE", "LICENSE.txt", "license.md", "USE_POLICY.md", "NOTICE", "COPYING"] {
            assert!(path(text).is_license_text(), "{text}");
        }
        for text in ["config.json", "deep/LICENSE", "MY_LICENSE"] {
            assert!(!path(text).is_license_text(), "{text}");
        }
        assert!(path("a.gguf").is_weights() && path("a.safetensors").is_weights() && !path("a.json").is_weights());
    }
}
