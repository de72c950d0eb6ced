//! How a connection is made, and what the kernel is told to do when the other end falls silent.

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

/// The kernel probes a connection after this time without traffic, and again at this interval. Idle connections are pinged
/// sooner (see `traffic`); this is for those that only listen, and keeps the state of firewalls on the way.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// How many probes may stay unanswered.
const PROBES: u32 = 3;
/// How long sent bytes may stay unacknowledged before the kernel gives up the connection.
pub(crate) const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// How long a server has to say why it ends a connection at once.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub(crate) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// The probes of every connection to a server.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(PROBES)
}

/// Connects to one address; `tls` has the name that the server's certificate must be for.
pub(crate) async fn connect(address: SocketAddr, tls: Option<(&Arc<ClientConfig>, &str)>) -> io::Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    // All that is to be sent goes out at once.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive())?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    let Some((config, host)) = tls else {
        return Ok(Socket::Tcp(stream));
    };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
    Ok(Socket::Tls(Box::new(stream)))
}

/// What a connection begins with.
pub(crate) fn greeting(settings: &RedisConnectionInfo) -> Vec<Cmd> {
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

/// Why a server ends connections at once, if it says so: in protected mode, or with too many clients. Asked on a connection
/// of its own, on which nothing is sent: the reset that a question provokes may overtake the answer.
pub(crate) async fn last_words(address: SocketAddr) -> Option<RedisError> {
    let mut said = Vec::new();
    let listen = async {
        let stream = TcpStream::connect(address).await?;
        stream.take(1024).read_to_end(&mut said).await
    };
    // However that ends: what was heard counts.
    let _ = timeout(LAST_WORDS, listen).await;
    error_in(&said.into())
}

/// The error that some bytes begin with.
pub(crate) fn error_in(bytes: &Bytes) -> Option<RedisError> {
    let end = memchr::memchr(b'\n', bytes)? + 1;
    RawReply::new(bytes.slice(..end)).only().err()
}
