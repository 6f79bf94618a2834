//! A lock together with the `models.toml` beside it.

use std::path::{Path, PathBuf};

use crate::digest::shortened;
use crate::hashing::Progress;
use crate::manifest::parent;
use crate::{Error, Lock, LockedModel, Manifest, Result, Source, Verified};

/// What an application loads from: `models.lock`, and `models.toml` where it is there. Where it is not, as in a
/// deployment, the lock alone suffices.
#[derive(Clone, Debug)]
pub struct Project {
    file: PathBuf,
    lock: Lock,
    manifest: Option<Manifest>,
}

impl Project {
    /// Reads the lock `file` and `models.toml` beside it, if there is one.
    pub fn open(file: &Path) -> Result<Self> {
        let manifest = parent(file).join("models.toml");
        Self::with_manifest(file, manifest.exists().then_some(manifest.as_path()))
    }

    /// Reads the lock `file`, and `manifest` if given. Paths in both are relative to the folder of the lock.
    pub fn with_manifest(file: &Path, manifest: Option<&Path>) -> Result<Self> {
        let manifest = manifest.map(Manifest::read).transpose()?;
        Ok(Self { file: file.to_owned(), lock: Lock::read(file)?, manifest })
    }

    /// The lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Where the lock was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What people wrote, if it is there.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The name of the model meant when none is named: what `models.toml` says, or the only one of the lock.
    pub fn default_model(&self) -> Result<&str> {
        if let Some(manifest) = &self.manifest {
            return Ok(manifest.default_model()?.as_str());
        }
        match self.lock.models() {
            [only] => Ok(only.name.as_str()),
            _ => Err(Error::NoDefault { file: self.file.clone(), known: self.names() }),
        }
    }

    /// What the lock says of the model `name`, where `default` stands for [`default_model`](Self::default_model). An
    /// error if `models.toml` no longer says the same.
    pub fn model(&self, name: &str) -> Result<&LockedModel> {
        let name = if name == "default" { self.default_model()? } else { name };
        let unknown = || Error::UnknownModel { file: self.file.clone(), name: shortened(name), known: self.names() };
        let locked = self.lock.get(name).ok_or_else(unknown)?;
        if let Some(manifest) = &self.manifest {
            check_agreement(locked, manifest)?;
        }
        Ok(locked)
    }

    /// Opens the model `name` (or `default`) and verifies every byte of it.
    pub fn verify(&self, name: &str, progress: Progress<'_>) -> Result<Verified> {
        let locked = self.model(name)?;
        let Source::Path(path) = &locked.source;
        Verified::open(locked, self.lock.digest(), &parent(&self.file).join(path), progress)
    }

    fn names(&self) -> Vec<String> {
        self.lock.models().iter().map(|model| model.name.to_string()).collect()
    }
}

/// Whether an edit of `models.toml` waits to be locked. Files are compared by verifying, not here.
fn check_agreement(locked: &LockedModel, manifest: &Manifest) -> Result<()> {
    let wanted = manifest.get(locked.name.as_str())?;
    let license = |expression: &Option<crate::Expression>| {
        expression.as_ref().map_or("not declared".into(), |e| format!("`{}`", e.as_str()))
    };
    let recipe = |name: Option<crate::Quantize>| name.map_or("not set".into(), |name| format!("`{name}`"));
    let fields = [
        ("source", format!("`{}`", locked.source), format!("`{}`", Source::Path(wanted.path.clone()))),
        ("license", license(&locked.license.expression), license(&wanted.license)),
        ("quantize", recipe(locked.load.as_ref().map(|load| load.recipe.name)), recipe(wanted.quantize)),
    ];
    match fields.into_iter().find(|(_, expected, found)| expected != found) {
        Some((field, expected, found)) => Err(Error::Stale { model: locked.name.to_string(), field, expected, found }),
        None => Ok(()),
    }
}

/// `start` or the nearest folder above it that has a file of one of these names.
pub fn find_upwards<'a>(start: &'a Path, names: &[&str]) -> Option<&'a Path> {
    start.ancestors().find(|dir| names.iter().any(|name| dir.join(name).is_file()))
}
