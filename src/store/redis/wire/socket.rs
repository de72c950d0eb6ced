//! How a connection is made.

use std::{io, sync::Arc};

use deadpool_redis::redis::{Cmd, ConnectionAddr, RedisConnectionInfo, RedisError};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(super) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Connects to an address; `tls` is for those that want it.
pub(super) async fn connect(address: &ConnectionAddr, tls: Option<Arc<ClientConfig>>) -> Result<Socket, RedisError> {
    Ok(match (address, tls) {
        (ConnectionAddr::Tcp(host, port), _) => Socket::Tcp(tcp(host, *port).await?),
        (ConnectionAddr::TcpTls { host, port, .. }, Some(config)) => {
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let stream = tcp(host, *port).await?;
            Socket::Tls(Box::new(TlsConnector::from(config).connect(name, stream).await?))
        }
        (ConnectionAddr::Unix(path), _) => Socket::Unix(UnixStream::connect(path).await?),
        _ => return Err(io::Error::other("no way to connect to such an address").into()),
    })
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    // All that is to be sent goes out at once.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What a connection begins with.
pub(super) fn greeting(settings: &RedisConnectionInfo) -> Vec<Cmd> {
    let mut hello = Cmd::new();
    hello.arg("HELLO").arg(2);
    if let Some(password) = settings.password() {
        hello
            .arg("AUTH")
            .arg(settings.username().unwrap_or("default"))
            .arg(password);
    }
    let mut greeting = vec![hello];
    if settings.db() != 0 {
        let mut select = Cmd::new();
        select.arg("SELECT").arg(settings.db());
        greeting.push(select);
    }
    greeting
}
