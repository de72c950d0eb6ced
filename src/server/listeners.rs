//! The listeners of a server: TCP, a Unix socket, or both.

use std::{fs, io, os::unix::fs::MetadataExt};

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tracing::{info, warn};

use super::unix_socket::BoundSocket;
use crate::{config::Config, process::StartError, text::printable};

/// The listeners of a server.
#[derive(Debug)]
pub struct Listeners {
    tcp: Option<TcpListener>,
    socket: Option<BoundSocket>,
}

impl From<TcpListener> for Listeners {
    fn from(tcp: TcpListener) -> Self {
        Self {
            tcp: Some(tcp),
            socket: None,
        }
    }
}

/// An accepted connection.
pub(crate) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listeners {
    /// Binds the addresses of the configuration. Fails with one line for the operator.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let tcp = match config.tcp() {
            None if config.socket.is_none() => {
                let line = "nowhere to listen: --host is none, and there is no --socket";
                return Err(StartError::Config(line.into()));
            }
            None => None,
            Some(address) => Some(TcpListener::bind(address).await.map_err(|cause| {
                let (host, port) = (printable::value(address.0), address.1);
                StartError::Start(format!("cannot listen on {host}:{port}: {cause}"))
            })?),
        };
        let socket = match &config.socket {
            None => None,
            Some(path) => Some(BoundSocket::bind(path, config.socket_mode).await.map_err(|cause| {
                let path = printable::path(path);
                StartError::Start(format!("cannot listen on {path}: {cause}"))
            })?),
        };
        Ok(Self { tcp, socket })
    }

    /// Logs the addresses, with a warning for each that others than the operator can reach.
    pub(crate) fn announce(&self) {
        if let Some(address) = self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()) {
            info!("listening on http://{address}");
            if !address.ip().is_loopback() {
                warn!(
                    "{address} is reachable from other machines: every client that reaches it can read and end all sessions"
                );
            }
        }
        if let Some(socket) = &self.socket {
            info!("listening on {}", printable::path(&socket.path));
            if fs::metadata(&socket.path).is_ok_and(|file| file.mode() & 0o002 != 0) {
                warn!("every user of this machine can connect to the socket, and read and end all sessions");
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
                Some(socket) => socket.listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = tcp => accepted,
            accepted = socket => accepted,
        }
    }
}
