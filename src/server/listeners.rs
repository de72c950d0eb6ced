//! Where the service listens: TCP, a Unix socket, or both.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};
use tracing::{info, warn};

use crate::{
    config::{Config, FileMode},
    process::StartError,
    text::printable,
};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// What a server accepts connections from.
#[derive(Debug)]
pub struct Listeners {
    tcp: Option<TcpListener>,
    socket: Option<Socket>,
}

impl From<TcpListener> for Listeners {
    fn from(tcp: TcpListener) -> Self {
        Self {
            tcp: Some(tcp),
            socket: None,
        }
    }
}

/// A connection.
pub(crate) enum Accepted {
    Tcp(TcpStream),
    Socket(UnixStream),
}

impl Listeners {
    /// Listens where the configuration says. The error is one line for the operator.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let tcp = match config.tcp() {
            None if config.socket.is_none() => {
                let line = "nowhere to listen: --host is none, and there is no --socket";
                return Err(StartError::Config(line.into()));
            }
            None => None,
            Some(place) => Some(TcpListener::bind(place).await.map_err(|cause| {
                let (host, port) = (printable::value(place.0), place.1);
                StartError::Start(format!("cannot listen on {host}:{port}: {cause}"))
            })?),
        };
        let socket = match &config.socket {
            None => None,
            Some(path) => Some(Socket::bind(path, config.socket_mode).await.map_err(|cause| {
                let path = printable::path(path);
                StartError::Start(format!("cannot listen on {path}: {cause}"))
            })?),
        };
        Ok(Self { tcp, socket })
    }

    pub(crate) fn announce(&self) {
        if let Some(address) = self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()) {
            info!("listening on http://{address}");
            if !address.ip().is_loopback() {
                warn!(
                    "{address} is reached from beyond this machine: whoever reaches it can read and end every session"
                );
            }
        }
        if let Some(socket) = &self.socket {
            info!("listening on {}", printable::path(&socket.path));
            if fs::metadata(&socket.path).is_ok_and(|file| file.mode() & 0o002 != 0) {
                warn!("every user of this machine can connect to it, and read and end every session");
            }
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        let tcp = async {
            match &self.tcp {
                Some(tcp) => tcp.accept().await.map(|(stream, _)| Accepted::Tcp(stream)),
                None => std::future::pending().await,
            }
        };
        let socket = async {
            match &self.socket {
                Some(socket) => socket
                    .listener
                    .accept()
                    .await
                    .map(|(stream, _)| Accepted::Socket(stream)),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = tcp => accepted,
            accepted = socket => accepted,
        }
    }
}

/// A Unix socket, whose file goes with it.
#[derive(Debug)]
struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file: another process may have put its own in its place.
    file: (u64, u64),
}

impl Socket {
    /// Listens on `path`. What a process that was killed has left there is replaced; anything else is left alone.
    async fn bind(path: &Path, mode: FileMode) -> io::Result<Self> {
        // Held until we listen: of two services that start at once, the second one finds the first one answering.
        let _folder = lock_folder(path).await?;
        match UnixStream::connect(path).await {
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            Err(cause) if cause.kind() == ErrorKind::ConnectionRefused => {
                if !fs::symlink_metadata(path)?.file_type().is_socket() {
                    return Err(io::Error::other("it is there already, and is no socket"));
                }
                fs::remove_file(path)?;
            }
            // Nobody answers a full queue at once, but it is somebody's.
            Err(cause) if cause.kind() != ErrorKind::WouldBlock => return Err(cause),
            _ => return Err(io::Error::other("another process listens there")),
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // Before it listens: until then nobody can connect, whatever the umask was.
        fs::set_permissions(path, fs::Permissions::from_mode(mode.0))?;
        let listener = socket.listen(BACKLOG)?;
        let file = identity(path)?;
        let path = path.to_owned();
        Ok(Self { listener, path, file })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // What is left behind in spite of this is replaced by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Locks the folder of a path, for as long as the result lives.
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
    Err(io::Error::other("another process keeps its folder locked"))
}
