//! What a person must know when a lock would change.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::{Lock, LockedFile, LockedModel};

/// One difference between two locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The model.
    pub model: String,
    /// What changed.
    pub kind: ChangeKind,
    /// The file, where one is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// After.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What changed, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChangeKind {
    /// A model is new.
    ModelAdded,
    /// A model is gone.
    ModelRemoved,
    /// The declared licence differs.
    LicenseExpression,
    /// A licence text differs, came or went.
    LicenseText,
    /// Another architecture.
    Family,
    /// Tensors differ.
    Weights,
    /// Weights are quantized otherwise while they are loaded.
    Quantization,
    /// Prompts are rendered otherwise.
    Template,
    /// Text becomes other tokens.
    Tokenizer,
    /// Other end-of-sequence ids or sampling defaults.
    Generation,
    /// The bytes lie elsewhere.
    Source,
    /// A file came.
    FileAdded,
    /// A file went.
    FileRemoved,
    /// A file has other content.
    FileChanged,
}

impl Lock {
    /// What changes from this lock to `new`, sorted by model and gravity. Empty if both say the same, even if they are
    /// written differently.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let by_name = |lock: &Self| {
            lock.models().iter().map(|model| (model.name.clone(), model.clone())).collect::<BTreeMap<_, _>>()
        };
        let (old, new) = (by_name(self), by_name(new));
        let whole = |model: &LockedModel, kind| Change {
            model: model.name.to_string(),
            kind,
            file: None,
            from: None,
            to: None,
        };
        let mut changes = Vec::new();
        for (name, model) in &old {
            match new.get(name) {
                None => changes.push(whole(model, ChangeKind::ModelRemoved)),
                Some(new) => changes.extend(between(model, new)),
            }
        }
        changes.extend(
            new.values()
                .filter(|model| !old.contains_key(&model.name))
                .map(|model| whole(model, ChangeKind::ModelAdded)),
        );
        changes.sort_by(|a, b| (&a.model, a.kind, &a.file).cmp(&(&b.model, b.kind, &b.file)));
        changes
    }
}

fn text<T: ToString>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(T::to_string)
}

fn between(old: &LockedModel, new: &LockedModel) -> Vec<Change> {
    use ChangeKind as Kind;
    let expression =
        |model: &LockedModel| model.license.expression.as_ref().map(|expression| expression.as_str().to_owned());
    let weights = |model: &LockedModel| {
        let files = model.files.iter().filter(|file| file.path.is_weights());
        Some(crate::digest_of_files(files.map(|file| (&file.path, file.sha256))).to_string())
    };
    let fields = [
        (Kind::Source, Some(old.source.to_string()), Some(new.source.to_string())),
        (Kind::Family, Some(old.family.clone()), Some(new.family.clone())),
        (Kind::LicenseExpression, expression(old), expression(new)),
        (Kind::LicenseText, text(&old.license.bundle), text(&new.license.bundle)),
        (Kind::Weights, weights(old), weights(new)),
        (Kind::Quantization, text(&old.load), text(&new.load)),
        (Kind::Template, text(&old.behaviour.template), text(&new.behaviour.template)),
        (Kind::Tokenizer, Some(old.behaviour.tokens.to_string()), Some(new.behaviour.tokens.to_string())),
        (Kind::Generation, Some(old.behaviour.generation.to_string()), Some(new.behaviour.generation.to_string())),
    ];
    let model = old.name.to_string();
    let fields = fields.into_iter().filter(|(_, from, to)| from != to);
    let fields = fields.map(|(kind, from, to)| Change { model: model.clone(), kind, file: None, from, to });
    fields.chain(files(&model, &old.files, &new.files)).collect()
}

fn files(model: &str, old: &[LockedFile], new: &[LockedFile]) -> Vec<Change> {
    let mut pairs: BTreeMap<&str, [Option<&LockedFile>; 2]> = BTreeMap::new();
    old.iter().for_each(|file| pairs.entry(file.path.as_str()).or_default()[0] = Some(file));
    new.iter().for_each(|file| pairs.entry(file.path.as_str()).or_default()[1] = Some(file));
    let changed = pairs.into_iter().filter(|(_, [old, new])| old != new);
    let change = |(path, [old, new]): (&str, [Option<&LockedFile>; 2])| {
        let kind = match (old, new) {
            (None, _) => ChangeKind::FileAdded,
            (_, None) => ChangeKind::FileRemoved,
            _ => ChangeKind::FileChanged,
        };
        let state = |file: Option<&LockedFile>| file.map(|file| format!("{} ({} bytes)", file.sha256, file.size));
        Change { model: model.into(), kind, file: Some(path.into()), from: state(old), to: state(new) }
    };
    changed.map(change).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ChangeKind::ModelAdded => "is new",
            ChangeKind::ModelRemoved => "is gone",
            ChangeKind::LicenseExpression => "the declared licence changed",
            ChangeKind::LicenseText => "a licence text changed",
            ChangeKind::Family => "the architecture changed",
            ChangeKind::Weights => "the weights changed",
            ChangeKind::Quantization => "the quantization changed",
            ChangeKind::Template => "the chat template changed",
            ChangeKind::Tokenizer => "the tokenizer changed",
            ChangeKind::Generation => "the end-of-sequence ids or sampling defaults changed",
            ChangeKind::Source => "the source changed",
            ChangeKind::FileAdded => "a file was added",
            ChangeKind::FileRemoved => "a file was removed",
            ChangeKind::FileChanged => "a file changed",
        };
        write!(f, "{}: {what}", self.model)?;
        if let Some(file) = &self.file {
            write!(f, ": {file}")?;
        }
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, ": {from} -> {to}"),
            (Some(only), None) | (None, Some(only)) => write!(f, ": {only}"),
            (None, None) => Ok(()),
        }
    }
}
