//! A folder held by an open handle, so that it stays the same folder if its path is renamed, replaced or mounted over.
//!
//! The system resolves a path at each use, so a write by path could go into the folder of another service.
//! [`Anchor::base`] leads through the handle instead, by way of `/proc/self/fd`.
//!
//! Limit: on a system without `/proc` the base is the path itself, and only [`Anchor::in_place`] notices a change.

use std::{
    fs::{self, File, Metadata},
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// The device and inode of a file or folder. Unique on this machine for as long as the file is open.
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

    /// The identity of an open file.
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::of(&metadata))
    }

    /// The identity of the file that is at a path now.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// Whether a path leads to this file. The error tells the operator what is there instead.
    pub(crate) fn is_at(self, path: &Path) -> Result<(), String> {
        match Self::at(path) {
            Ok(found) if found == self => Ok(()),
            Ok(_) => Err(format!("{} is another file or folder now", path.display())),
            Err(cause) => Err(format!("{}: {cause}", path.display())),
        }
    }
}

/// An open folder.
pub(crate) struct Anchor {
    path: PathBuf,
    base: PathBuf,
    identity: Identity,
    /// Invariant: open for as long as `base` is used, because `base` names its file descriptor.
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

    /// The path that it was opened by: the one that the operator knows.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path that leads to this folder, wherever it is now.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Translates a path below [`Self::base`] into one below [`Self::path`], for the operator.
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.base);
        below.map_or_else(|_| path.to_owned(), |below| self.path.join(below))
    }

    /// Whether its path still leads to it.
    pub(crate) fn in_place(&self) -> Result<(), String> {
        self.identity.is_at(&self.path)
    }

    /// The identity of the folder.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }
}
