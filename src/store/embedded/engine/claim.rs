//! The claim of this process to its data folder: a lock in it, and the folder being where its path leads.
//!
//! A lock holds for the folder that it was taken in. Once that is renamed or replaced, another process can lock what is at
//! the path now, and rightly believe that the path is its own. So the claim is good only as long as the path leads to the
//! folder and the lock that this process holds.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::anchor::{Anchor, Identity};

/// Locked while a process has the folder.
pub(crate) const LOCK: &str = "lock";

/// A claimed folder.
pub(crate) struct Claim {
    folder: Anchor,
    lock: Mutex<Lock>,
    /// The lock by the folder's path, and not through its handle.
    lock_path: PathBuf,
}

/// The lock, until it is dropped.
struct Lock {
    identity: Identity,
    _file: File,
}

impl Lock {
    /// Takes the lock of a folder, by its base. The error is one line for the operator.
    fn take(folder: &Anchor) -> Result<Self, String> {
        let path = folder.path().display();
        let io = |cause: io::Error| format!("cannot use the data folder {path}: {cause}");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.base().join(LOCK))
            .map_err(io)?;
        file.try_lock().map_err(|refused| match refused {
            TryLockError::WouldBlock => format!("another process uses the data folder {path}"),
            TryLockError::Error(cause) => io(cause),
        })?;
        let identity = Identity::open(&file).map_err(io)?;
        Ok(Self { identity, _file: file })
    }
}

impl Claim {
    /// Claims the folder at `path`, which is there. The error is one line for the operator.
    pub(crate) fn take(path: &Path) -> Result<Self, String> {
        let io = |cause: io::Error| format!("cannot use the data folder {}: {cause}", path.display());
        let folder = Anchor::open(path).map_err(io)?;
        let lock = Lock::take(&folder)?;
        let claim = Self {
            folder,
            lock: Mutex::new(lock),
            lock_path: path.join(LOCK),
        };
        // Another process may have replaced either in between.
        match claim.folder.in_place().and_then(|()| claim.good()) {
            Ok(()) => Ok(claim),
            Err(why) => Err(format!(
                "cannot use the data folder {}: it changed meanwhile ({why})",
                path.display()
            )),
        }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Anchor {
        &self.folder
    }

    /// Whether the folder's path still leads to the lock that this process holds, and so to the folder. Costs one look at a
    /// file's metadata; the error says what is wrong.
    pub(crate) fn good(&self) -> Result<(), String> {
        self.lock().identity.is_at(&self.lock_path)
    }

    /// Makes the claim good again if the folder is back in its place, with another lock if that was removed.
    pub(crate) fn renew(&self) -> Result<(), String> {
        self.folder.in_place()?;
        if self.good().is_err() {
            *self.lock() = Lock::take(&self.folder)?;
        }
        self.good()
    }

    fn lock(&self) -> MutexGuard<'_, Lock> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
