//! A folder held by an open handle, so that it stays the same folder whatever becomes of its path.
//!
//! A path is looked up anew with each use: once the folder is renamed or mounted over, a write by path would go into
//! another folder, perhaps that of another service. [`Anchor::base`] leads through the handle instead. Where the system
//! has no `/proc`, the base is the path itself, and [`Anchor::in_place`] is all there is.

use std::{
    fs::{self, File, Metadata},
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// What tells one file or folder of this machine from all others, as long as it is open somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// Of an open file.
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::of(&metadata))
    }

    /// Of whatever is at a path now.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// Whether a path leads to it; the error says what is there instead, in words for the operator.
    pub(crate) fn is_at(self, path: &Path) -> Result<(), String> {
        match Self::at(path) {
            Ok(found) if found == self => Ok(()),
            Ok(_) => Err(format!("another one is at {}", path.display())),
            Err(cause) => Err(format!("{}: {cause}", path.display())),
        }
    }
}

/// An open folder.
pub(crate) struct Anchor {
    path: PathBuf,
    base: PathBuf,
    identity: Identity,
    /// Invariant: open for as long as `base` is used, as that names its number.
    _handle: File,
}

impl Anchor {
    /// Opens the folder at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::new(File::open(path)?, path)
    }

    /// Opens a folder in this one.
    pub(crate) fn below(&self, name: &str) -> io::Result<Self> {
        Self::new(File::open(self.base.join(name))?, &self.path.join(name))
    }

    fn new(handle: File, path: &Path) -> io::Result<Self> {
        let identity = Identity::open(&handle)?;
        let base = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        let leads_here = Identity::at(&base).is_ok_and(|found| found == identity);
        Ok(Self {
            path: path.to_owned(),
            base: if leads_here { base } else { path.to_owned() },
            identity,
            _handle: handle,
        })
    }

    /// The path that it was opened by, which is the one to tell an operator.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path that leads to this very folder.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// A path below [`Self::base`] as an operator knows it.
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.base);
        below.map_or_else(|_| path.to_owned(), |below| self.path.join(below))
    }

    /// Whether its path still leads to it.
    pub(crate) fn in_place(&self) -> Result<(), String> {
        self.identity.is_at(&self.path)
    }

    /// What it is, whatever its path.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }
}
