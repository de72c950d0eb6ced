//! Listens on a Unix socket.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::config::FileMode;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A listening Unix socket. Dropping it removes its file.
#[derive(Debug)]
pub(super) struct BoundSocket {
    pub(super) listener: UnixListener,
    pub(super) path: PathBuf,
    /// Device and inode of the file. Another process may have replaced it by its own.
    identity: (u64, u64),
}

impl BoundSocket {
    /// Listens on `path`. Replaces the socket that a killed process left behind, and refuses to replace anything else.
    pub(super) async fn bind(path: &Path, mode: FileMode) -> io::Result<Self> {
        // Held until we listen: of two services that start at once, the second one finds the first one listening.
        let _lock = lock_folder(path).await?;
        match UnixStream::connect(path).await {
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            Err(cause) if cause.kind() == ErrorKind::ConnectionRefused => {
                if !fs::symlink_metadata(path)?.file_type().is_socket() {
                    return Err(io::Error::other("the path exists and is not a socket"));
                }
                fs::remove_file(path)?;
            }
            // WouldBlock: the backlog of a listening process is full.
            Err(cause) if cause.kind() != ErrorKind::WouldBlock => return Err(cause),
            _ => return Err(io::Error::other("another process listens there")),
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // Before `listen`: until then no client can connect, whatever the umask.
        fs::set_permissions(path, fs::Permissions::from_mode(mode.0))?;
        let listener = socket.listen(BACKLOG)?;
        let identity = identity(path)?;
        let path = path.to_owned();
        Ok(Self {
            listener,
            path,
            identity,
        })
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // If this fails, the next start replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Locks the folder of a path while the returned file lives.
async fn lock_folder(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")))?;
    for _ in 0..100 {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::Error(cause)) => return Err(cause),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    Err(io::Error::other("another process holds the lock on its folder"))
}
