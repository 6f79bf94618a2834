//! Which files belong to a model.

use std::fs::{self, DirEntry, FileType};
use std::path::{Path, PathBuf};

use crate::manifest::parent;
use crate::open::Links;
use crate::{Error, FilePath, Glob, Result};

/// The most files a model may have: the largest published checkpoints have a few hundred, and each is held open.
const MAX_FILES: usize = 4096;

/// The folder of a model, canonical, and its files, sorted.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<FilePath>,
}

/// The files of the folder or file at `path`.
///
/// A folder gives every regular file that is not hidden, or those that a pattern of `include` means. A file gives itself,
/// and of a split GGUF all parts.
pub(crate) fn list(model: &str, path: &Path, include: &[Glob], links: Links) -> Result<Listing> {
    let root = root(path)?;
    let mut files = if path.is_dir() { walk(model, &root, include, links)? } else { file_and_siblings(model, path)? };
    files.sort();
    let none = |reason: String| Error::NoFiles { model: model.into(), path: path.into(), reason };
    if let Some(pattern) = include.iter().find(|pattern| !files.iter().any(|file| pattern.matches(file))) {
        return Err(none(format!("`include` pattern `{}` matches no file", pattern.as_str())));
    }
    if files.is_empty() {
        return Err(none("holds no files".into()));
    }
    Ok(Listing { root, files })
}

/// The canonical folder that file paths of the model at `path` are relative to. `path` itself is a person's choice and
/// may be a link.
pub(crate) fn root(path: &Path) -> Result<PathBuf> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    let dir = if metadata.is_dir() { path } else { parent(path) };
    fs::canonicalize(dir).map_err(Error::io(dir))
}

fn walk(model: &str, root: &Path, include: &[Glob], links: Links) -> Result<Vec<FilePath>> {
    let mut files = Vec::new();
    let mut dirs = vec![(root.to_owned(), String::new())];
    while let Some((dir, prefix)) = dirs.pop() {
        for entry in fs::read_dir(&dir).map_err(Error::io(&dir))? {
            let entry = entry.map_err(Error::io(&dir))?;
            let kind = entry.file_type().map_err(Error::io(entry.path()))?;
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kind.is_dir() {
                dirs.push((entry.path(), format!("{path}/")));
                continue;
            }
            let file = take(&entry, kind, &path, include, links).map_err(|reason| Error::file(model, &path, reason))?;
            files.extend(file);
            if files.len() > MAX_FILES {
                let reason = format!("holds more than {MAX_FILES} files; is this the folder of one model?");
                return Err(Error::NoFiles { model: model.into(), path: root.into(), reason });
            }
        }
    }
    Ok(files)
}

/// Whether an entry that is no folder belongs to the model; an error if it would but cannot.
fn take(
    entry: &DirEntry,
    kind: FileType,
    path: &str,
    include: &[Glob],
    links: Links,
) -> Result<Option<FilePath>, String> {
    if entry.file_name().to_str().is_none() {
        return Err("its name is not UTF-8".into());
    }
    let path: FilePath = path.parse()?;
    if !include.is_empty() && !include.iter().any(|pattern| pattern.matches(&path)) {
        return Ok(None);
    }
    match links {
        Links::Refuse if kind.is_symlink() => {
            Err("is a symbolic link; copy the file, or leave it out by `include`".into())
        }
        Links::Refuse if !kind.is_file() => Err("is not a regular file".into()),
        Links::Follow if !entry.path().is_file() => Ok(None),
        _ => Ok(Some(path)),
    }
}

fn file_and_siblings(model: &str, path: &Path) -> Result<Vec<FilePath>> {
    let name = path.file_name().unwrap_or_default();
    let text = name.to_str().ok_or_else(|| Error::file(model, &name.to_string_lossy(), "its name is not UTF-8"))?;
    let names = siblings(text).unwrap_or_else(|| vec![text.into()]);
    names.iter().map(|name| name.parse().map_err(|reason: String| Error::file(model, name, reason))).collect()
}

/// The names of all parts of a split GGUF, `PREFIX-00001-of-00003.gguf`, from the name of any one.
fn siblings(name: &str) -> Option<Vec<String>> {
    let number = |text: &str| {
        let five_digits = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        five_digits.then(|| text.parse::<usize>().ok())?
    };
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (prefix, part) = rest.rsplit_once('-')?;
    let count = number(count).filter(|count| (1..=MAX_FILES).contains(count))?;
    number(part).filter(|part| (1..=count).contains(part))?;
    Some((1..=count).map(|part| format!("{prefix}-{part:05}-of-{count:05}.gguf")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_split_file() {
        let parts = siblings("m-00002-of-00003.gguf").unwrap();
        assert_eq!(parts, ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"]);
        let single = [
            "m.gguf",
            "m-1-of-3.gguf",
            "m-00000-of-00003.gguf",
            "m-00004-of-00003.gguf",
            "m-00001-of-99999.gguf",
            "m-00001-of-00003.safetensors",
            "00001-of-00003.gguf",
        ];
        for name in single {
            assert_eq!(siblings(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_gives_what_is_not_hidden() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b.json", "a.gguf", ".hidden", "sub/c.json", ".git/config"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let names = |include: &[&str]| {
            let include: Vec<Glob> = include.iter().map(|text| text.parse().unwrap()).collect();
            let listing = list("m", dir.path(), &include, Links::Refuse)?;
            Ok::<_, Error>(listing.files.iter().map(FilePath::to_string).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["a.gguf", "b.json", "sub/c.json"]);
        assert_eq!(names(&["*.json"]).unwrap(), ["b.json"]);
        assert_eq!(names(&["sub/*", "a.*"]).unwrap(), ["a.gguf", "sub/c.json"]);
        assert!(names(&["*.json", "*.bin"]).unwrap_err().to_string().contains("`*.bin` matches no file"));
    }
}
