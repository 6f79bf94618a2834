//! Where models.toml and models.lock are, and how a model is opened.

use std::path::{Path, PathBuf};

use plimsoll::lock::{Project, Verified, find_upwards};

use crate::args::{Global, ModelArgs};
use crate::exit::{Exit, Failure, Result};
use crate::output;
use crate::progress;

pub(crate) const MANIFEST: &str = "models.toml";
pub(crate) const LOCK: &str = "models.lock";

/// Both files, in one folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) manifest: PathBuf,
    pub(crate) lock: PathBuf,
}

impl Files {
    /// Those that the options name, else those in the current folder or the nearest one above it.
    pub(crate) fn find(global: &Global) -> Result<Self> {
        let here = std::env::current_dir().map_err(Failure::io("current folder"))?;
        Self::find_from(&here, global)
    }

    fn find_from(here: &Path, global: &Global) -> Result<Self> {
        let beside = |file: &Path, name: &str| file.with_file_name(name);
        let files = match (&global.manifest, &global.lock) {
            (Some(manifest), Some(lock)) => Self { manifest: manifest.clone(), lock: lock.clone() },
            (Some(manifest), None) => Self { manifest: manifest.clone(), lock: beside(manifest, LOCK) },
            (None, Some(lock)) => Self { manifest: beside(lock, MANIFEST), lock: lock.clone() },
            (None, None) => {
                let dir = find_upwards(here, &[MANIFEST, LOCK]).ok_or_else(|| nothing_found(here))?;
                Self { manifest: dir.join(MANIFEST), lock: dir.join(LOCK) }
            }
        };
        let dir = |file: &Path| std::path::absolute(file).ok().and_then(|file| file.parent().map(Path::to_owned));
        if dir(&files.manifest) != dir(&files.lock) {
            let (manifest, lock) = (files.manifest.display(), files.lock.display());
            let message = format!(
                "--manifest {manifest} and --lock {lock} are in two folders; paths in both are relative to one"
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(files)
    }

    /// The lock, and the manifest where it is there.
    pub(crate) fn open(&self) -> Result<Project> {
        if !self.lock.exists() {
            let message = format!("{}: there is no such file", self.lock.display());
            return Err(Failure::new(Exit::Lock, message).help("`plimsoll lock` writes it from models.toml"));
        }
        Ok(Project::with_manifest(&self.lock, self.manifest.exists().then_some(self.manifest.as_path()))?)
    }
}

fn nothing_found(here: &Path) -> Failure {
    let message = format!("no {MANIFEST} and no {LOCK} in {} or a folder above it", here.display());
    Failure::new(Exit::Lock, message).help("name a file by --manifest or --lock, or a model by --unlocked PATH")
}

/// The model that the options name: verified against the lock, or opened without one, which stderr is told.
pub(crate) fn open_model(global: &Global, model: &ModelArgs) -> Result<Verified> {
    if let Some(path) = &model.unlocked {
        output::note(&format!("warning: {} is unlocked: its files are not verified", path.display()));
        return Ok(Verified::unlocked(path)?);
    }
    let project = Files::find(global)?.open()?;
    let name = model.model.as_deref().unwrap_or("default");
    let bar = progress::Bytes::new("verifying");
    Ok(project.verify(name, &|done, total| bar.set(done, total))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(manifest: Option<&str>, lock: Option<&str>) -> Global {
        Global { manifest: manifest.map(Into::into), lock: lock.map(Into::into), json: false }
    }

    #[test]
    fn files_lie_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let find = |manifest, lock| Files::find_from(&below, &global(manifest, lock));
        let files = |manifest: &str, lock: &str| Files { manifest: manifest.into(), lock: lock.into() };
        let nowhere = Files::find_from(Path::new("/"), &global(None, None));
        assert!(nowhere.unwrap_err().to_string().contains("no models.toml and no models.lock in "));
        std::fs::write(dir.path().join("models.toml"), "").unwrap();
        assert!(find(Some("models.toml"), Some("./x/../models.lock")).is_err());
        assert!(find(Some("models.toml"), Some("./models.lock")).is_ok());
        let root = |name| dir.path().join(name);
        assert_eq!(find(None, None).unwrap(), Files { manifest: root("models.toml"), lock: root("models.lock") });
        assert_eq!(find(Some("x/m.toml"), None).unwrap(), files("x/m.toml", "x/models.lock"));
        assert_eq!(find(None, Some("edge.lock")).unwrap(), files("models.toml", "edge.lock"));
        assert_eq!(find(Some("x/a.toml"), Some("x/b.lock")).unwrap(), files("x/a.toml", "x/b.lock"));
        assert!(find(Some("x/a.toml"), Some("y/b.lock")).unwrap_err().to_string().contains("are in two folders"));
    }
}
