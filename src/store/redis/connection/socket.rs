//! TCP, TLS and Unix sockets to a server, with keepalive probes, and the handshake of the protocol.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use deadpool_redis::redis::{Cmd, RedisConnectionInfo, RedisError};
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::store::redis::connection::resp::RawReply;

/// The kernel probes a connection after this time without traffic, and again at this interval. Pipelined connections
/// are pinged sooner (see `traffic`); the probes are for subscriptions, and keep the state of firewalls alive.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// How many probes may stay unanswered.
const PROBES: u32 = 3;
/// How long sent bytes may stay unacknowledged before the kernel closes the connection.
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a server may take to send the error with which it closes a new connection.
const CLOSING_ERROR: Duration = Duration::from_millis(200);

/// A connected socket.
pub(super) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// The keepalive probes of every connection to a server.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(PROBES)
}

/// Connects to one address; `tls` has the name that the server's certificate must be for.
pub(super) async fn connect(address: SocketAddr, tls: Option<(&Arc<ClientConfig>, &str)>) -> io::Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    // The task of the connection already sends all that has gathered at once.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive())?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let Some((config, host)) = tls else {
        return Ok(Socket::Tcp(stream));
    };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
    Ok(Socket::Tls(Box::new(stream)))
}

/// The first commands of a connection: protocol version, credentials, database.
pub(super) fn handshake(settings: &RedisConnectionInfo) -> Vec<Cmd> {
    let mut hello = Cmd::new();
    hello.arg("HELLO").arg(2);
    if let Some(password) = settings.password() {
        hello
            .arg("AUTH")
            .arg(settings.username().unwrap_or("default"))
            .arg(password);
    }
    let mut handshake = vec![hello];
    if settings.db() != 0 {
        let mut select = Cmd::new();
        select.arg("SELECT").arg(settings.db());
        handshake.push(select);
    }
    handshake
}

/// The error with which a server closes new connections at once, as in protected mode or with too many clients.
///
/// Why a connection of its own, on which nothing is sent: the TCP reset that a command provokes may destroy the error.
pub(super) async fn closing_error(address: SocketAddr) -> Option<RedisError> {
    let mut received = Vec::new();
    let listen = async {
        let stream = TcpStream::connect(address).await?;
        stream.take(1024).read_to_end(&mut received).await
    };
    // Received bytes count however the read ends.
    let _ = timeout(CLOSING_ERROR, listen).await;
    error_in(&received.into())
}

/// The error that some bytes begin with.
pub(super) fn error_in(bytes: &Bytes) -> Option<RedisError> {
    let end = memchr::memchr(b'\n', bytes)? + 1;
    RawReply::detached(bytes.slice(..end)).only().err()
}
