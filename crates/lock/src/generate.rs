//! From `models.toml` to `models.lock`.

use std::error::Error as StdError;

use crate::files::list;
use crate::hashing::Progress;
use crate::open::Links;
use crate::verified::{Verified, VerifiedFile};
use crate::{
    Behaviour, Digest, Error, License, Load, Lock, LockedFile, LockedModel, Manifest, ManifestModel, Result, Source,
    digest_of_files,
};

/// What only someone who can read the model knows of it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The architecture, such as `llama`.
    pub family: String,
    /// The digest of the model whose weights it holds quantized, where its files say so.
    pub derived_from: Option<Digest>,
    /// Of the effective chat template, if there is one.
    pub template: Option<Digest>,
    /// Of the token ids of a fixed probe text.
    pub tokens: Digest,
    /// Of the effective end-of-sequence set and sampling defaults.
    pub generation: Digest,
    /// What was made of its weights by the recipe of [`Verified::quantize`], where there is one.
    pub load: Option<Load>,
}

/// Hashes every file of every model of `manifest`. `describe` is given the open files, whose bytes are the ones that were
/// hashed, and says what they are. A file that is written to in the meantime is an error.
///
/// The same bytes give the same text, on every machine.
pub fn generate<E>(
    manifest: &Manifest,
    progress: Progress<'_>,
    mut describe: impl FnMut(Verified) -> Result<Described, E>,
) -> Result<Lock>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let mut models = Vec::new();
    for (name, wanted) in manifest.models() {
        let path = manifest.dir().join(&wanted.path);
        let listing = list(name.as_str(), &path, &wanted.include, Links::Refuse)?;
        let (open, files) = Verified::to_lock(name.as_str(), &listing, wanted.quantize, progress)?;
        let held = open.files().iter().map(VerifiedFile::try_clone).collect::<Result<Vec<_>>>()?;
        let described =
            describe(open).map_err(|error| Error::Describe { model: name.to_string(), source: error.into() })?;
        held.iter().try_for_each(VerifiedFile::check_unchanged)?;
        models.push(LockedModel {
            name: name.clone(),
            source: Source::Path(wanted.path.clone()),
            digest: digest_of_files(files.iter().map(|file| (&file.path, file.sha256))),
            family: described.family,
            derived_from: described.derived_from,
            license: license(wanted, &files),
            behaviour: Behaviour {
                template: described.template,
                tokens: described.tokens,
                generation: described.generation,
            },
            load: described.load,
            files,
        });
    }
    Lock::new(models)
}

fn license(wanted: &ManifestModel, files: &[LockedFile]) -> License {
    let mut texts = files.iter().filter(|file| file.path.is_license_text()).peekable();
    let bundle = texts.peek().is_some().then(|| digest_of_files(texts.map(|file| (&file.path, file.sha256))));
    License { expression: wanted.license.clone(), bundle }
}
