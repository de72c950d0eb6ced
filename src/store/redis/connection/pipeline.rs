//! One connection that pipelines the commands of any number of callers.
//!
//! A caller appends its encoded commands to a queue. The task of the connection sends all that has gathered in one
//! system call, reads what has arrived in another, and gives each caller the bytes of its replies. Callers decode them
//! on their own threads.
//!
//! Why not the connection of the client library: it wakes its task, calls the system and decodes a reply for each
//! command. With this one the service's CPU falls from 14.2 to 12.1 µs for a get, from 18.3 to 15.7 for a create and
//! from 16.7 to 13.5 for a set (BENCHMARKS.md). The library still encodes commands, parses values and serves rare
//! connections.
//!
//! Limits: RESP2 without push messages, and no transactions across callers.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, ConnectionInfo, RedisConnectionInfo, RedisError};
use rustls::ClientConfig;
use tokio::task::AbortHandle;

use crate::store::redis::connection::{
    connect,
    queue::ConnectionQueue,
    resp::RawReply,
    retry::{NoReply, RetryPolicy},
    socket::{self, Socket},
    traffic,
};

/// A handle of one connection: cloning it is cheap. The connection ends with the last one.
#[derive(Clone)]
pub(crate) struct Connection {
    queue: Arc<ConnectionQueue>,
    _task: Arc<ConnectionTask>,
}

/// The task behind all handles.
struct ConnectionTask(AbortHandle);

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects to the first address of the host name that serves, authenticates and selects the database.
    ///
    /// All of it takes at most nine tenths of `timeout`, so that the error can list what was tried before the caller
    /// gives up. Each reply after that may take `reply_timeout`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) async fn connect(
        info: &ConnectionInfo,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
        reply_timeout: Duration,
    ) -> Result<Self, RedisError> {
        let open = |socket| Self::open(socket, info.redis_settings(), reply_timeout);
        connect::connect(info.addr(), tls, timeout, open).await
    }

    /// Starts the task of a connected socket and sends the first commands.
    async fn open(socket: Socket, settings: &RedisConnectionInfo, timeout: Duration) -> Result<Self, RedisError> {
        let queue = Arc::new(ConnectionQueue::new(timeout));
        let task = match socket {
            Socket::Tcp(stream) => tokio::spawn(traffic::serve(queue.clone(), stream, true)),
            Socket::Tls(stream) => tokio::spawn(traffic::serve(queue.clone(), stream, false)),
            Socket::Unix(stream) => tokio::spawn(traffic::serve(queue.clone(), stream, true)),
        };
        let connection = Self {
            queue,
            _task: Arc::new(ConnectionTask(task.abort_handle())),
        };
        for cmd in socket::handshake(settings) {
            let reply = connection.ask(&[&cmd], RetryPolicy::Never).await;
            reply.map_err(RedisError::from)?.only()?;
        }
        Ok(connection)
    }

    /// The replies to some commands, which Redis runs without commands of other callers of this connection in between.
    pub(crate) async fn ask(&self, commands: &[&Cmd], retry: RetryPolicy) -> Result<RawReply, NoReply> {
        self.ask_encoded(commands.len(), retry, |bytes| {
            for cmd in commands {
                cmd.write_packed_command(bytes);
            }
        })
        .await
    }

    /// The same for `count` commands that `encode` appends.
    pub(crate) async fn ask_encoded(
        &self,
        count: usize,
        retry: RetryPolicy,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<RawReply, NoReply> {
        let receiver = self.queue.push(count, retry, encode)?;
        // The task drops a sender only if it panics.
        let bytes = receiver.await.unwrap_or_else(|_| Err(NoReply::reset()))?;
        Ok(RawReply::received(bytes, self.queue.health.clone()))
    }

    /// Keeps further commands off this connection. Commands in flight may still get their replies.
    pub(crate) fn give_up(&self) {
        self.queue.health.give_up();
    }

    /// Whether the connection has ended or was given up.
    pub(crate) fn is_broken(&self) -> bool {
        self.queue.health.is_broken()
    }
}
