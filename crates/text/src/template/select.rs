//! Which template a model's files mean.

use std::collections::BTreeMap;

use plimsoll_formats::gguf::{Metadata, Writer};
use serde_json::Value as Json;

use super::Template;
use crate::error::Error;

/// The templates of a model by name, checked when they are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    named: BTreeMap<String, String>,
}

impl Templates {
    /// No templates.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a template, in place of one of the same name: the contents of `chat_template.jinja` as `default`, those of
    /// `additional_chat_templates/NAME.jinja` as `NAME`, after [`add_config`](Self::add_config).
    pub fn add(&mut self, name: impl Into<String>, source: impl Into<String>) {
        self.named.insert(name.into(), source.into());
    }

    /// Adds those of `tokenizer_config.json`, or of the `chat_template.json` of processors: `chat_template` is a string
    /// or a list of `{name, template}`.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn add_config(&mut self, tokenizer_config: &[u8]) -> Result<(), Error> {
        const FILE: &str = "tokenizer_config.json";
        let malformed =
            |found: &dyn std::fmt::Display, expected| Error::malformed(FILE, "chat_template", found, expected);
        let config: Json = serde_json::from_slice(tokenizer_config).map_err(|error| malformed(&error, "JSON"))?;
        match config.get("chat_template") {
            None | Some(Json::Null) => {}
            Some(Json::String(source)) => self.add("default", source.as_str()),
            Some(Json::Array(list)) => {
                for entry in list {
                    let text = |key: &str| entry.get(key).and_then(Json::as_str);
                    let (Some(name), Some(source)) = (text("name"), text("template")) else {
                        return Err(malformed(entry, "a name and a template"));
                    };
                    self.add(name, source);
                }
            }
            Some(other) => return Err(malformed(other, "a string or a list of templates")),
        }
        Ok(())
    }

    /// The templates of a GGUF file: `tokenizer.chat_template`, and `tokenizer.chat_template.NAME` for each name in
    /// `tokenizer.chat_templates`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Formats`].
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, Error> {
        let mut templates = Self::new();
        if let Some(source) = metadata.text("tokenizer.chat_template")? {
            templates.add("default", source);
        }
        for name in metadata.strings("tokenizer.chat_templates")?.unwrap_or_default() {
            let name = String::from_utf8_lossy(name).into_owned();
            let key = format!("tokenizer.chat_template.{name}");
            let source = metadata.text(&key)?;
            let source = source.ok_or_else(|| Error::malformed(metadata.file(), key, "nothing", "a template"))?;
            templates.add(name, source);
        }
        Ok(templates)
    }

    /// Sets the keys that [`from_gguf`](Self::from_gguf) reads.
    pub fn write_gguf(&self, writer: &mut Writer<'_>) {
        let mut others = Vec::new();
        for (name, source) in &self.named {
            if name == "default" {
                writer.set("tokenizer.chat_template", source.as_str());
            } else {
                writer.set(&format!("tokenizer.chat_template.{name}"), source.as_str());
                others.push(name.clone().into_bytes());
            }
        }
        if !others.is_empty() {
            writer.set("tokenizer.chat_templates", others);
        }
    }

    /// Names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// The source for a request: `tool_use` if there are tools and such a template, else `default`; a lone template is
    /// taken whatever its name.
    ///
    /// # Errors
    /// [`Error::NoTemplate`].
    pub fn source(&self, tools: bool) -> Result<&str, Error> {
        let tool_use = self.named.get("tool_use").filter(|_| tools);
        let lone = self.named.values().next().filter(|_| self.named.len() == 1);
        tool_use.or_else(|| self.named.get("default")).or(lone).map(String::as_str).ok_or_else(|| {
            let known =
                if self.named.is_empty() { "none".to_owned() } else { self.names().collect::<Vec<_>>().join(", ") };
            Error::NoTemplate { name: "default".to_owned(), known }
        })
    }

    /// The template for a request, see [`source`](Self::source).
    ///
    /// # Errors
    /// [`Error::NoTemplate`], [`Error::Syntax`].
    pub fn choose(&self, tools: bool) -> Result<Template, Error> {
        Template::new(self.source(tools)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_chosen() {
        let mut templates = Templates::new();
        assert!(templates.choose(false).unwrap_err().to_string().ends_with("there are: none"));
        templates.add_config(br#"{"chat_template": [{"name": "rag", "template": "r"}]}"#).unwrap();
        assert_eq!(templates.source(true).unwrap(), "r");
        templates.add_config(br#"{"chat_template": "d"}"#).unwrap();
        assert_eq!(templates.source(true).unwrap(), "d");
        templates.add("tool_use", "t");
        templates.add("default", "file");
        assert_eq!((templates.source(true).unwrap(), templates.source(false).unwrap()), ("t", "file"));
        assert_eq!(templates.names().collect::<Vec<_>>(), ["default", "rag", "tool_use"]);
        assert!(templates.add_config(br#"{"chat_template": 3}"#).unwrap_err().to_string().contains("found 3"));
        templates.add_config(b"{}").unwrap();
    }
}
