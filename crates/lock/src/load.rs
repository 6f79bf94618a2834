//! What `models.toml` and `models.lock` say of weights that are quantized while they are loaded.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Digest;
use crate::digest::shortened;

/// The recipes there are. What they do is known to whoever loads a model; this crate knows their names, so that a
/// mistake is found where it was written and before anything is hashed.
const NAMES: [&str; 4] = ["q8_0", "q6_k", "q4_k_m", "q4_0"];

/// The name of a recipe, as in `quantize = "q4_k_m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantize(&'static str);

/// A recipe as a lock names it: `q4_k_m/1`. Another version makes other weights of the same files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecipeId {
    /// Its name.
    pub name: Quantize,
    /// Its version.
    pub version: u32,
}

/// How files become the weights that run, where those are not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The recipe.
    pub recipe: RecipeId,
    /// Over every tensor that it makes, before a backend packs them.
    pub result: Digest,
}

impl Quantize {
    /// All names.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(Self)
    }

    /// As text.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for Quantize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || NAMES.map(|name| format!("`{name}`")).join(", ");
        let found = Self::all().find(|quantize| quantize.0 == text);
        found.ok_or_else(|| format!("quantize is `{}`, expected one of {}", shortened(text), known()))
    }
}

impl FromStr for RecipeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is not a recipe: a name, `/` and a version expected", shortened(text));
        let (name, version) = text.split_once('/').ok_or_else(wrong)?;
        let plain = version.bytes().all(|byte| byte.is_ascii_digit()) && !version.starts_with('0');
        let version = version.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        Ok(Self { name: name.parse()?, version })
    }
}

impl fmt::Display for Quantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for RecipeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.recipe, self.result)
    }
}

impl<'de> Deserialize<'de> for Quantize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl TryFrom<String> for RecipeId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RecipeId> for String {
    fn from(value: RecipeId) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_a_recipe() {
        for name in Quantize::all() {
            let text = format!("{name}/12");
            assert_eq!(text.parse(), Ok(RecipeId { name, version: 12 }));
            assert_eq!(RecipeId { name, version: 12 }.to_string(), text);
        }
        let bad = [
            "",
            "q8_0",
            "q8_0/",
            "/1",
            "q8_0/x",
            "q8_0/-1",
            "q8_0/+1",
            "q8_0/01",
            "q8_0/0",
            "q8_0/1/2",
            "q8_0/4294967296",
        ];
        for text in bad {
            assert!(text.parse::<RecipeId>().is_err(), "{text}");
        }
        let error = "q5/1".parse::<RecipeId>().unwrap_err();
        assert_eq!(error, "quantize is `q5`, expected one of `q8_0`, `q6_k`, `q4_k_m`, `q4_0`");
    }
}
