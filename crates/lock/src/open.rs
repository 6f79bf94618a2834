//! Opening files that others may have prepared: regular files only, no links where they are not wanted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use crate::{Error, FilePath, Result};

/// Whether a symbolic link may stand for a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Locked models: a file is where the lock says.
    Refuse,
    /// Unlocked models: caches keep their files as links into a store.
    Follow,
}

/// What a file's metadata say; equal before and after hashing, or the hash is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    inode: [i64; 4],
}

impl Stamp {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { size: metadata.len(), modified: metadata.modified().ok(), inode: inode(&metadata) })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

/// Device, inode and time of the last change of either content or metadata.
#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> [i64; 4] {
    use std::os::unix::fs::MetadataExt;
    [metadata.dev() as i64, metadata.ino() as i64, metadata.ctime(), metadata.ctime_nsec()]
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> [i64; 4] {
    [0; 4]
}

/// Opens `path` inside the folder `root`, which must be canonical. The reason of a failure comes back as text.
///
/// The comparison below can lose a race against whoever may write to the folder. It keeps a lock from wandering by
/// mistake; what keeps foreign bytes out is that they are hashed through the descriptor that is returned.
pub(crate) fn open(root: &Path, path: &FilePath, links: Links) -> Result<(File, Stamp), String> {
    let full = root.join(path.as_str());
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("is missing: no file at {}", full.display()),
        _ => error.to_string(),
    };
    if links == Links::Refuse && fs::canonicalize(&full).map_err(missing)? != full {
        return Err("is a symbolic link, or lies behind one; locked models hold their own files".into());
    }
    let file = options(links).open(&full).map_err(missing)?;
    let metadata = file.metadata().map_err(missing)?;
    if !metadata.is_file() {
        return Err("is not a regular file".into());
    }
    let stamp = Stamp::of(&file).map_err(missing)?;
    Ok((file, stamp))
}

/// `O_NONBLOCK`: a named pipe must not hang the process before it can be refused; files do not care.
#[cfg(unix)]
fn options(links: Links) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let nofollow = if links == Links::Refuse { libc::O_NOFOLLOW } else { 0 };
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | nofollow);
    options
}

#[cfg(not(unix))]
fn options(_: Links) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// A text file of at most `limit` bytes, checked before it is read.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    let file = options(Links::Follow).open(path).map_err(Error::io(path))?;
    let metadata = file.metadata().map_err(Error::io(path))?;
    if !metadata.is_file() {
        return Err(Error::invalid(path, "whole file", "is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::invalid(
            path,
            "whole file",
            format!("has {} bytes, at most {limit} are read", metadata.len()),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid(path, format!("byte {at}"), "is not UTF-8")
    })
}
