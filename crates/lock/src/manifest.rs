//! `models.toml`: what people want.
//!
//! ```toml
//! default = "chat"                     # what runs when no model is named; editing this line swaps
//!
//! [models.chat]
//! path = "models/llama"                # a folder or a file, relative to models.toml
//! include = ["*.safetensors", "*.json", "LICENSE*"]   # optional: every file that is not hidden
//! license = "Apache-2.0"               # optional: an SPDX expression, or LicenseRef-* for what SPDX lacks
//! quantize = "q4_k_m"                  # optional: smaller weights, made while loading
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::shortened;
use crate::open::read_text;
use crate::{Error, Glob, Name, Quantize, Result};

/// The most bytes `models.toml` may have.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// `models.toml`, checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    file: PathBuf,
    content: Content,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    default: Option<Name>,
    #[serde(default)]
    models: BTreeMap<Name, ManifestModel>,
}

/// One model that an application wants.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestModel {
    /// The folder or file, relative to `models.toml`.
    pub path: String,
    /// Which files of the folder belong to the model; empty means all that are not hidden.
    #[serde(default)]
    pub include: Vec<Glob>,
    /// The licence that the application's author says applies.
    pub license: Option<Expression>,
    /// By which recipe weights of full precision are quantized while they are loaded; none loads them as they are.
    pub quantize: Option<Quantize>,
}

impl Manifest {
    /// Reads and checks `models.toml`.
    pub fn read(file: &Path) -> Result<Self> {
        Self::parse(file, &read_text(file, MAX_MANIFEST_BYTES)?)
    }

    /// Checks `text`; `file` is for messages, and its folder is what paths are relative to.
    pub fn parse(file: &Path, text: &str) -> Result<Self> {
        let content: Content = toml::from_str(text).map_err(|error| Error::toml(file, text, &error))?;
        let manifest = Self { file: file.to_owned(), content };
        if let Some(default) = &manifest.content.default {
            manifest.get(default.as_str())?;
        }
        Ok(manifest)
    }

    /// Where it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The folder that `path` entries are relative to.
    pub fn dir(&self) -> &Path {
        parent(&self.file)
    }

    /// All models by name.
    pub fn models(&self) -> &BTreeMap<Name, ManifestModel> {
        &self.content.models
    }

    /// The model called `name`.
    pub fn get(&self, name: &str) -> Result<&ManifestModel> {
        let found = self.content.models.iter().find(|(known, _)| known.as_str() == name);
        found.map(|(_, model)| model).ok_or_else(|| Error::UnknownModel {
            file: self.file.clone(),
            name: shortened(name),
            known: self.names(),
        })
    }

    /// The model meant when none is named: `default`, or the only one there is.
    pub fn default_model(&self) -> Result<&Name> {
        let only = || Some(self.content.models.keys().next()?).filter(|_| self.content.models.len() == 1);
        let none = || Error::NoDefault { file: self.file.clone(), known: self.names() };
        self.content.default.as_ref().or_else(only).ok_or_else(none)
    }

    fn names(&self) -> Vec<String> {
        self.content.models.keys().map(Name::to_string).collect()
    }
}

/// The folder of a file; of a bare file name, the current one.
pub(crate) fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}

/// A licence as an SPDX expression. Spelled as the standard spells it: `Apache-2.0`, not `apache2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression(String);

impl Expression {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Err(error) = spdx::Expression::parse(text) else { return Ok(Self(text.into())) };
        let hint = match spdx::Expression::canonicalize(text) {
            Ok(Some(better)) => format!("; perhaps `{better}`"),
            _ => "; what SPDX lacks is written `LicenseRef-NAME`".into(),
        };
        Err(format!("`{}` is not an SPDX licence expression: {}{hint}", shortened(text), error.reason))
    }
}

impl TryFrom<String> for Expression {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Expression> for String {
    fn from(value: Expression) -> Self {
        value.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest> {
        Manifest::parse(Path::new("dir/models.toml"), text)
    }

    #[test]
    fn reads_what_people_write() {
        let text = "default = 'b'\n[models.a]\npath = 'm/a'\ninclude = ['*.json']\nlicense = 'MIT OR LicenseRef-Own'\nquantize = 'q4_k_m'\n[models.b]\npath = '../b.gguf'\n";
        let manifest = parse(text).unwrap();
        assert_eq!(manifest.default_model().unwrap().as_str(), "b");
        let a = manifest.get("a").unwrap();
        assert_eq!((a.path.as_str(), a.include.len()), ("m/a", 1));
        assert_eq!(a.license.as_ref().unwrap().as_str(), "MIT OR LicenseRef-Own");
        assert_eq!(a.quantize.map(Quantize::as_str), Some("q4_k_m"));
        let b = manifest.get("b").unwrap();
        assert_eq!((&b.license, b.quantize), (&None, None));
        assert_eq!(manifest.dir(), Path::new("dir"));
    }

    #[test]
    fn the_only_model_is_the_default() {
        assert_eq!(parse("[models.a]\npath='a'").unwrap().default_model().unwrap().as_str(), "a");
        let two = parse("[models.a]\npath='a'\n[models.b]\npath='b'").unwrap();
        assert_eq!(
            two.default_model().unwrap_err().to_string(),
            "dir/models.toml: no `default` names a model; it has `a`, `b`: name one"
        );
        assert!(parse("").unwrap().default_model().is_err());
    }

    /// Each case: the text, where the message points, and what it must name.
    #[test]
    fn mistakes_are_named_and_placed() {
        let cases = [
            (
                "[models.a]\nhf = 'Qwen/Qwen3-4B'",
                "2:1",
                "unknown field `hf`, expected one of `path`, `include`, `license`, `quantize`",
            ),
            (
                "[models.a]\npath='a'\nquantize = 'Q4_K'",
                "3:12",
                "quantize is `Q4_K`, expected one of `q8_0`, `q6_k`, `q4_k_m`, `q4_0`",
            ),
            ("[models.a]\npath='a'\nquantize = true", "3:12", "expected a string"),
            ("[policy]\nallow = []", "1:2", "unknown field `policy`, expected `default` or `models`"),
            ("[models.a]", "1:1", "missing field `path`"),
            ("[models.a]\npath = 3", "2:8", "expected a string"),
            (
                "[models.a]\npath = 'a'\nlicense = 'apache2'",
                "3:11",
                "`apache2` is not an SPDX licence expression: unknown term; perhaps `Apache-2.0`",
            ),
            ("[models.a]\npath = 'a'\nlicense = 'Llama 3'", "3:11", "`LicenseRef-NAME`"),
            ("[models.a]\npath = 'a'\ninclude = ['**']", "3:11", "only `*` and `?`"),
            ("[models.'a b']\npath = 'a'", "1:9", "cannot be the name of a model"),
            ("[models.default]\npath = 'a'", "1:9", "`default` stands for"),
            ("[models.a]\npath = 'a'\n[models.a]\npath = 'b'", "3:9", "duplicate key"),
            ("models = 3", "1:10", "expected a map"),
            ("[models.a\npath = 'a'", "1:10", "unclosed table, expected `]`"),
        ];
        for (text, place, message) in cases {
            let found = parse(text).unwrap_err().to_string();
            assert!(
                found.starts_with(&format!("dir/models.toml: {place}: ")) && found.contains(message),
                "{text}\n{found}"
            );
        }
        let unknown = parse("default = 'x'\n[models.a]\npath = 'a'").unwrap_err();
        assert_eq!(unknown.to_string(), "dir/models.toml: there is no model `x`; it has `a`");
    }
}
