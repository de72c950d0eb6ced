//! The claim of this process to its data folder: a locked file in it, and the path of the folder leading to that file.
//!
//! Why both: a lock protects the folder that it was taken in. If that folder is renamed or replaced, another process
//! can lock the one that is at the path now, and owns the path. So the claim holds only while the path leads to the
//! folder and to the lock file of this process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::anchor::{Anchor, Identity};

/// The name of the lock file. A process that uses the folder holds its lock.
pub(crate) const LOCK: &str = "lock";

/// A claimed folder.
pub(crate) struct Claim {
    folder: Arc<Anchor>,
    lock: Mutex<Lock>,
    /// The path of the lock file by way of the folder's path, not of its handle.
    lock_path: PathBuf,
}

/// The lock file, locked until it is dropped.
struct Lock {
    identity: Identity,
    _file: File,
}

impl Lock {
    /// Locks a folder. The error is one line for the operator.
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
    /// Claims the folder at `path`, which must exist. The error is one line for the operator.
    pub(crate) fn take(path: &Path) -> Result<Self, String> {
        let io = |cause: io::Error| format!("cannot use the data folder {}: {cause}", path.display());
        let folder = Arc::new(Anchor::open(path).map_err(io)?);
        let lock = Lock::take(&folder)?;
        let claim = Self {
            folder,
            lock: Mutex::new(lock),
            lock_path: path.join(LOCK),
        };
        // Another process may have replaced the folder or the lock file since they were opened.
        match claim.folder.in_place().and_then(|()| claim.good()) {
            Ok(()) => Ok(claim),
            Err(why) => Err(format!(
                "cannot use the data folder {}: another process changed it meanwhile ({why})",
                path.display()
            )),
        }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Arc<Anchor> {
        &self.folder
    }

    /// Whether the path still leads to the lock file of this process, and so to the folder. Costs one look at a file's
    /// metadata. The error says what is wrong.
    pub(crate) fn good(&self) -> Result<(), String> {
        self.lock().identity.is_at(&self.lock_path)
    }

    /// Restores the claim if the folder is back in its place, with a new lock file if the old one was removed.
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
