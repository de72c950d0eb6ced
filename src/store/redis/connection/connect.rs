//! Opens a connection: resolves the host name, tries its addresses and names in the error each that failed.

use std::{io, sync::Arc, time::Duration};

use deadpool_redis::redis::{ConnectionAddr, RedisError};
use rustls::ClientConfig;
use tokio::{
    net::{UnixStream, lookup_host},
    time::{Instant, timeout_at},
};

use crate::store::redis::connection::{
    explain::{self, Attempt},
    happy_eyeballs,
    socket::{self, Socket},
};

/// Connects within nine tenths of `timeout`; `open` makes a connection of a socket.
pub(super) async fn connect<T, F>(
    address: &ConnectionAddr,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    open: impl Fn(Socket) -> F,
) -> Result<T, RedisError>
where
    F: Future<Output = Result<T, RedisError>>,
{
    let deadline = Instant::now() + timeout * 9 / 10;
    let (host, port, tls) = match (address, tls) {
        (ConnectionAddr::Tcp(host, port), _) => (host, *port, None),
        (ConnectionAddr::TcpTls { host, port, .. }, Some(config)) => (host, *port, Some(config)),
        (ConnectionAddr::Unix(path), _) => {
            let opened = async { open(Socket::Unix(UnixStream::connect(path).await?)).await };
            let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
            return timeout_at(deadline, opened).await.unwrap_or_else(|_| late());
        }
        _ => return Err(io::Error::other("this kind of address is not supported").into()),
    };
    let attempt = Attempt {
        host,
        port,
        tls: tls.is_some(),
    };
    let addresses = match timeout_at(deadline, lookup_host((host.as_str(), port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(attempt.error(&error.to_string())),
        Err(_) => return Err(attempt.error("the host name was not resolved in time")),
    };
    let connect = async |address| {
        let tls = tls.as_ref().map(|config| (config, host.as_str()));
        let secured = tls.is_some();
        let opened = match socket::connect(address, tls).await {
            Ok(socket) => open(socket).await,
            Err(error) => Err(error.into()),
        };
        match opened {
            Err(error) if !secured && explain::was_closed(&error) => {
                Err(socket::closing_error(address).await.unwrap_or(error))
            }
            opened => opened,
        }
    };
    let found = happy_eyeballs::first(addresses, deadline, connect).await;
    found.map_err(|failed| attempt.failed(failed))
}
