//! [`Verified`]: the only thing the engine takes.

use std::fs::File;
use std::path::Path;

use crate::files::{self, Listing};
use crate::hashing::{Progress, Range, chunks, hash_ranges};
use crate::open::{Links, Stamp, open};
use crate::{Digest, Error, FilePath, Load, LockedFile, LockedModel, Quantize, RecipeId, Result, Sha256};

/// A model whose files are open and whose bytes are known.
///
/// Files were opened once and hashed through the descriptors that are handed on, so that nothing can be put in their
/// place afterwards. There is one way round, [`Verified::unlocked`], and it leaves a mark.
#[derive(Debug)]
pub struct Verified {
    name: String,
    files: Vec<VerifiedFile>,
    quantize: Option<Quantize>,
    locked: Option<LockedModel>,
    lock_digest: Option<Digest>,
    unlocked: bool,
}

/// An open file of a model.
#[derive(Debug)]
pub struct VerifiedFile {
    /// Relative to the model, `/` between components.
    pub path: String,
    /// Open for reading.
    pub file: File,
    /// In bytes.
    pub size: u64,
    /// What the lock says of the whole file; none where the model is unlocked.
    pub sha256: Option<Sha256>,
    stamp: Stamp,
    model: String,
}

impl Verified {
    /// Opens the files at `path` and verifies nothing: the deliberate way round the lock. [`is_unlocked`](Self::is_unlocked)
    /// tells everyone downstream.
    pub fn unlocked(path: &Path) -> Result<Self> {
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let listing = files::list(&name, path, &[], Links::Follow)?;
        let files = open_all(&name, &listing, Links::Follow)?;
        Ok(Self { name, files, quantize: None, locked: None, lock_digest: None, unlocked: true })
    }

    /// Opens and hashes what `locked` names below `path`. `lock_digest` is the lock's own.
    pub(crate) fn open(locked: &LockedModel, lock_digest: Digest, path: &Path, progress: Progress<'_>) -> Result<Self> {
        let name = locked.name.to_string();
        let listing =
            Listing { root: files::root(path)?, files: locked.files.iter().map(|file| file.path.clone()).collect() };
        let mut files = open_all(&name, &listing, Links::Refuse)?;
        let pairs = || files.iter().zip(&locked.files);
        // All sizes before any hash: a wrong size is known at once.
        pairs().try_for_each(|(file, locked)| compare(file, "size".into(), locked.size, file.size))?;
        verify_bytes(&files, &locked.files, progress)?;
        files.iter_mut().zip(&locked.files).for_each(|(file, locked)| file.sha256 = Some(locked.sha256));
        let quantize = locked.load.as_ref().map(|load| load.recipe.name);
        let (locked, lock_digest) = (Some(locked.clone()), Some(lock_digest));
        Ok(Self { name, files, quantize, locked, lock_digest, unlocked: false })
    }

    /// Opens the files of `listing` to be locked; also returns their entries for the lock.
    pub(crate) fn to_lock(
        name: &str,
        listing: &Listing,
        quantize: Option<Quantize>,
        progress: Progress<'_>,
    ) -> Result<(Self, Vec<LockedFile>)> {
        let mut files = open_all(name, listing, Links::Refuse)?;
        let entries = hash_to_lock(&files, &listing.files, progress)?;
        files.iter_mut().zip(&entries).for_each(|(file, entry)| file.sha256 = Some(entry.sha256));
        Ok((Self { name: name.into(), files, quantize, locked: None, lock_digest: None, unlocked: false }, entries))
    }

    /// The name in `models.toml`; of an unlocked model, that of its file or folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its files, sorted by path.
    pub fn files(&self) -> &[VerifiedFile] {
        &self.files
    }

    /// Gives up the handle for its files.
    pub fn into_files(self) -> Vec<VerifiedFile> {
        self.files
    }

    /// The file at `path`, if the model has it.
    pub fn file(&self, path: &str) -> Option<&VerifiedFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// What the lock says of this model.
    pub fn locked(&self) -> Option<&LockedModel> {
        self.locked.as_ref()
    }

    /// Names what runs, see [`LockedModel::identity`].
    pub fn digest(&self) -> Option<Digest> {
        self.locked.as_ref().map(LockedModel::identity)
    }

    /// The recipe by which its weights are to be quantized while they are loaded; none loads them as they are.
    pub fn quantize(&self) -> Option<Quantize> {
        self.quantize
    }

    /// Fails if the lock was made with another version of the recipe than the one at hand. To be called before loading.
    pub fn check_recipe(&self, recipe: RecipeId) -> Result<()> {
        self.check_load("recipe", recipe, |load| load.recipe)
    }

    /// Fails if the weights that were made while loading are not those of the lock.
    pub fn check_result(&self, result: Digest) -> Result<()> {
        self.check_load("result", result, |load| load.result)
    }

    fn check_load<T: PartialEq + std::fmt::Display>(
        &self,
        field: &'static str,
        found: T,
        expected: impl Fn(&Load) -> T,
    ) -> Result<()> {
        match self.locked.as_ref().and_then(|locked| locked.load.as_ref()).map(expected) {
            Some(expected) if expected != found => {
                let (expected, found) = (expected.to_string(), found.to_string());
                Err(Error::Quantized { model: self.name.clone(), field, expected, found })
            }
            _ => Ok(()),
        }
    }

    /// The digest of the lock that was verified against.
    pub fn lock_digest(&self) -> Option<Digest> {
        self.lock_digest
    }

    /// Whether nothing was verified.
    pub fn is_unlocked(&self) -> bool {
        self.unlocked
    }

    /// Fails if a file was written to since it was hashed. To be called when the bytes have been read or packed.
    pub fn check_unchanged(&self) -> Result<()> {
        self.files.iter().try_for_each(VerifiedFile::check_unchanged)
    }
}

impl VerifiedFile {
    /// Fails if the file was written to since it was hashed, or since it was opened where nothing is hashed.
    pub fn check_unchanged(&self) -> Result<()> {
        let now = Stamp::of(&self.file).map_err(|error| self.refuse(error.to_string()))?;
        if now == self.stamp { Ok(()) } else { Err(self.changed()) }
    }

    /// The same open file once more.
    pub fn try_clone(&self) -> Result<Self> {
        let file = self.file.try_clone().map_err(|error| self.refuse(error.to_string()))?;
        let Self { path, size, sha256, stamp, model, .. } = self;
        Ok(Self { path: path.clone(), file, size: *size, sha256: *sha256, stamp: stamp.clone(), model: model.clone() })
    }

    fn changed(&self) -> Error {
        Error::ChangedWhileRead { model: self.model.clone(), file: self.path.clone() }
    }

    fn refuse(&self, reason: String) -> Error {
        Error::file(&self.model, &self.path, reason)
    }
}

fn open_all(model: &str, listing: &Listing, links: Links) -> Result<Vec<VerifiedFile>> {
    let open = |path: &FilePath| {
        let (file, stamp) =
            open(&listing.root, path, links).map_err(|reason| Error::file(model, path.as_str(), reason))?;
        Ok(VerifiedFile { path: path.to_string(), file, size: stamp.size(), sha256: None, stamp, model: model.into() })
    };
    listing.files.iter().map(open).collect()
}

/// Hashes `ranges`, each of them with the index of its file.
fn hash(files: &[VerifiedFile], ranges: Vec<(usize, Range<'_>)>, progress: Progress<'_>) -> Result<Vec<Sha256>> {
    let (owners, ranges): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
    let hashes = hash_ranges(&ranges, progress).map_err(|(index, error)| {
        let file = &files[owners[index]];
        if error.kind() == std::io::ErrorKind::UnexpectedEof { file.changed() } else { file.refuse(error.to_string()) }
    })?;
    files.iter().try_for_each(VerifiedFile::check_unchanged)?;
    Ok(hashes)
}

fn whole(file: &VerifiedFile) -> Range<'_> {
    Range { file: &file.file, start: 0, len: file.size }
}

fn verify_bytes(files: &[VerifiedFile], locked: &[LockedFile], progress: Progress<'_>) -> Result<()> {
    let (mut ranges, mut expected) = (Vec::new(), Vec::new());
    for (index, (file, locked)) in files.iter().zip(locked).enumerate() {
        match locked.chunk_size {
            None => {
                ranges.push((index, whole(file)));
                expected.push((file, "sha256".to_owned(), locked.sha256));
            }
            Some(chunk) => {
                ranges.extend(chunks(&file.file, file.size, chunk).map(|range| (index, range)));
                let field = |number| format!("sha256 of chunk {number} of {}", locked.chunks.len());
                expected.extend(locked.chunks.iter().zip(1..).map(|(&chunk, number)| (file, field(number), chunk)));
            }
        }
    }
    let found = hash(files, ranges, progress)?;
    expected
        .into_iter()
        .zip(found)
        .try_for_each(|((file, field, expected), found)| compare(file, field, expected, found))
}

fn compare<T: PartialEq + std::fmt::Display>(file: &VerifiedFile, field: String, expected: T, found: T) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (expected.to_string(), found.to_string());
    Err(Error::Mismatch { model: file.model.clone(), file: file.path.clone(), field, expected, found })
}

fn hash_to_lock(files: &[VerifiedFile], paths: &[FilePath], progress: Progress<'_>) -> Result<Vec<LockedFile>> {
    use crate::CHUNK_SIZE;
    let large = |file: &VerifiedFile| file.size > CHUNK_SIZE;
    let mut ranges = Vec::new();
    for (index, file) in files.iter().enumerate() {
        ranges.push((index, whole(file)));
        let chunks = chunks(&file.file, file.size, CHUNK_SIZE).filter(|_| large(file));
        ranges.extend(chunks.map(|range| (index, range)));
    }
    let owners: Vec<usize> = ranges.iter().map(|&(index, _)| index).collect();
    let hashes = hash(files, ranges, progress)?;
    let entry = |index: usize, file: &VerifiedFile| {
        let mut own = owners.iter().zip(&hashes).filter(|&(&owner, _)| owner == index).map(|(_, &hash)| hash);
        Some(LockedFile {
            path: paths.get(index)?.clone(),
            size: file.size,
            sha256: own.next()?,
            chunk_size: large(file).then_some(CHUNK_SIZE),
            chunks: own.collect(),
        })
    };
    Ok(files.iter().enumerate().filter_map(|(index, file)| entry(index, file)).collect())
}
