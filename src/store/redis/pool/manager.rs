//! What a pool holds: a connection, and where it leads.

use std::{io, sync::Arc, time::Duration};

use deadpool::managed::{self, RecycleError, RecycleResult};
use deadpool_redis::redis::{Cmd, ConnectionInfo, RedisError, Value};
use futures_util::future::BoxFuture;
use rustls::ClientConfig;

use crate::store::redis::{
    connection::{pipeline::Connection, retry::RetryPolicy},
    sentinel::query::Sentinels,
};

/// A handle of one connection.
#[derive(Clone)]
pub(crate) struct PooledConnection {
    pub(crate) connection: Connection,
    /// Where the sentinels said that its server is; empty without sentinels.
    address: Arc<str>,
}

impl PooledConnection {
    /// Whether it leads to the master that the sentinels name now.
    pub(crate) fn leads_to(&self, address: &str) -> bool {
        &*self.address == address
    }
}

/// Makes connections. A manager of our own: that of [`deadpool_redis`] sends a PING at each checkout.
#[derive(Clone)]
pub(crate) struct Manager {
    source: Source,
    tls: Option<Arc<ClientConfig>>,
    /// The longest time to wait for a reply, and for a connection.
    pub(crate) timeout: Duration,
}

/// Where the server is.
#[derive(Clone)]
enum Source {
    Fixed(Box<ConnectionInfo>),
    /// Wherever the sentinels say.
    Sentinels(Arc<Sentinels>),
}

impl Manager {
    /// Connects to one server.
    pub(crate) fn fixed(info: ConnectionInfo, tls: Option<Arc<ClientConfig>>, timeout: Duration) -> Self {
        let source = Source::Fixed(Box::new(info));
        Self { source, tls, timeout }
    }

    /// Connects to the master that sentinels know.
    pub(crate) fn by_sentinels(sentinels: Arc<Sentinels>, timeout: Duration) -> Self {
        Self {
            tls: sentinels.tls(),
            source: Source::Sentinels(sentinels),
            timeout,
        }
    }

    /// Where the server is now, and its address as the sentinels have it, if they are who says so.
    pub(crate) async fn find(&self) -> Result<(ConnectionInfo, Option<String>), RedisError> {
        match &self.source {
            Source::Fixed(info) => Ok(((**info).clone(), None)),
            Source::Sentinels(sentinels) => {
                let address = sentinels.address().await?;
                Ok((sentinels.at(&address), Some(address)))
            }
        }
    }
}

/// What tells a master from a replica.
pub(crate) fn role() -> Cmd {
    let mut cmd = Cmd::with_capacity(1, 4);
    cmd.arg("ROLE");
    cmd
}

/// Fails if who replied to that is not, or not any more, the master that sentinels took it for.
pub(crate) fn be_master(role: &Value) -> Result<(), RedisError> {
    if let Value::ServerError(error) = role {
        return Err(error.clone().into());
    }
    let is_master =
        matches!(role, Value::Array(parts) if parts.first() == Some(&Value::BulkString(b"master".to_vec())));
    if is_master {
        return Ok(());
    }
    Err(io::Error::other("what the sentinels call master is none").into())
}

impl managed::Manager for Manager {
    type Type = PooledConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<PooledConnection, RedisError> {
        // Connecting is rare, and its state is large: in a box it does not make every request's larger.
        let connect: BoxFuture<'_, _> = Box::pin(async {
            let (info, address) = self.find().await?;
            let connection = Connection::connect(&info, self.tls.clone(), self.timeout, self.timeout).await?;
            if address.is_some() {
                be_master(
                    &connection
                        .ask(&[&role()], RetryPolicy::AfterHalf)
                        .await?
                        .only()?
                        .value()?,
                )?;
            }
            let address = address.unwrap_or_default().into();
            Ok(PooledConnection { connection, address })
        });
        connect.await
    }

    async fn recycle(&self, link: &mut PooledConnection, _: &managed::Metrics) -> RecycleResult<RedisError> {
        if link.connection.is_broken() {
            return Err(RecycleError::message("broken"));
        }
        Ok(())
    }
}
