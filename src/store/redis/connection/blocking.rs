//! A synchronous connection for the consistency check, which walks through all keys on one thread.
//!
//! It connects as the service does: to the first address of a host name that serves, with an error that names what was
//! tried.

use std::{io, sync::Arc, time::Duration};

use deadpool_redis::redis::{ConnectionAddr, ConnectionInfo, ConnectionLike, RedisError, RedisResult, Value};
use rustls::ClientConfig;
use tokio::runtime::Runtime;

use crate::store::redis::{
    connection::{explain::Attempt, pipeline::Connection, retry::RetryPolicy},
    error::reason,
};

/// A blocking handle of one connection.
pub(crate) struct Blocking {
    connection: Connection,
    runtime: Arc<Runtime>,
    /// The address of the server, for errors.
    target: String,
    database: i64,
}

impl Blocking {
    /// Connects within `timeout`. Each reply may take `reply_timeout`.
    pub(crate) fn connect(
        runtime: Arc<Runtime>,
        (info, tls): (&ConnectionInfo, Option<Arc<ClientConfig>>),
        timeout: Duration,
        reply_timeout: Duration,
    ) -> Result<Self, RedisError> {
        let connection = runtime.block_on(Connection::connect(info, tls, timeout, reply_timeout))?;
        let tcp = |host, port, tls| Attempt { host, port, tls }.target();
        let target = match info.addr() {
            ConnectionAddr::Tcp(host, port) => tcp(host, *port, false),
            ConnectionAddr::TcpTls { host, port, .. } => tcp(host, *port, true),
            other => other.to_string(),
        };
        let database = info.redis_settings().db();
        Ok(Self {
            connection,
            runtime,
            target,
            database,
        })
    }

    fn replies(&self, commands: &[u8], count: usize) -> RedisResult<Vec<Value>> {
        let encode = |bytes: &mut Vec<u8>| bytes.extend_from_slice(commands);
        let asked = self
            .runtime
            .block_on(self.connection.ask_encoded(count, RetryPolicy::Never, encode));
        let reply = asked.map_err(|cause| {
            let why = reason(&RedisError::from(cause));
            RedisError::from(io::Error::other(format!("{}: {why}", self.target)))
        })?;
        reply.each().map(|reply| reply.value()).collect()
    }
}

impl ConnectionLike for Blocking {
    fn req_packed_command(&mut self, cmd: &[u8]) -> RedisResult<Value> {
        let value = self.replies(cmd, 1)?.pop();
        value.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }

    fn req_packed_commands(&mut self, cmd: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let mut values = self.replies(cmd, offset + count)?;
        Ok(values.split_off(offset.min(values.len())))
    }

    fn get_db(&self) -> i64 {
        self.database
    }

    fn check_connection(&mut self) -> bool {
        self.is_open()
    }

    fn is_open(&self) -> bool {
        !self.connection.is_broken()
    }
}
