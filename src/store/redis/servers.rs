//! The server or servers behind the store.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, Value};
use tokio::task::AbortHandle;

use super::{
    cluster::Cluster,
    failure::Failure,
    keys::Keys,
    pool::{Pool, Request},
    reply,
    script::Script,
    wire::Reply,
};
use crate::store::Error;

/// Where a shard is, one server says or a cluster.
pub(super) enum Servers {
    One(Server),
    Cluster(Cluster),
}

impl Servers {
    /// Sends a command that reads a key of a shard. `None`: it holds something else.
    pub(super) async fn read(&self, keys: &Keys, cmd: &Cmd) -> Result<Option<Reply>, Error> {
        match self.answer(keys, || Request::Read(cmd)).await {
            Err(Failure::WrongType) => Ok(None),
            reply => Ok(Some(reply?)),
        }
    }

    /// Runs a script on a shard; `arguments` adds the number of keys, the keys and the rest.
    pub(super) async fn script(
        &self,
        keys: &Keys,
        script: &Script,
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, Error> {
        value(&self.answer(keys, || Request::Script(script, &arguments)).await?)
    }

    /// The same for a script that changes what must not be lost: so many replicas must have it as the operator wants.
    pub(super) async fn change(
        &self,
        keys: &Keys,
        script: &Script,
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, Error> {
        value(&self.answer(keys, || Request::Change(script, &arguments)).await?)
    }

    async fn answer<'a>(&self, keys: &Keys, request: impl Fn() -> Request<'a>) -> Result<Reply, Failure> {
        match self {
            Self::One(server) => server.answer(request()).await,
            Self::Cluster(cluster) => cluster.answer(keys.slot(), request).await,
        }
    }

    /// Fails unless it is known that a token of no shard is nobody's.
    pub(super) async fn know_all_shards(&self) -> Result<(), Error> {
        match self {
            Self::One(_) => Ok(()),
            Self::Cluster(cluster) => Ok(cluster.is_ours().await?),
        }
    }

    /// The time of the server, or the median of those of the masters that answer soon.
    pub(super) async fn time(&self) -> Result<Duration, Failure> {
        match self {
            Self::One(server) => server.pool.time().await,
            Self::Cluster(cluster) => cluster.time().await,
        }
    }

    /// Whether anybody answers.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        match self {
            Self::One(server) => server.ping().await?,
            Self::Cluster(cluster) => cluster.ping().await?,
        }
        Ok(())
    }

    /// Lets go of the connections.
    pub(super) fn close(&self) {
        match self {
            Self::One(server) => server.pool.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}

fn value(of: &Reply) -> Result<Value, Error> {
    of.value().map_err(|_| reply::nonsense())
}

/// One server, and the task that sends what has to reach its replicas.
pub(super) struct Server {
    pub(super) pool: Arc<Pool>,
    task: AbortHandle,
}

impl Server {
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) fn start(pool: Pool) -> Self {
        let pool = Arc::new(pool);
        let task = tokio::spawn(pool.clone().serve_changes()).abort_handle();
        Self { pool, task }
    }

    /// The reply of the only server.
    async fn answer(&self, request: Request<'_>) -> Result<Reply, Failure> {
        let reply = self.pool.answer(request, false).await;
        reply.map_err(|failure| self.pool.misled(failure))
    }

    pub(super) async fn ping(&self) -> Result<(), Failure> {
        let mut cmd = Cmd::with_capacity(1, 4);
        cmd.arg("PING");
        let pong = self.pool.answer(Request::Command(&cmd), false).await?;
        match pong.value() {
            Ok(Value::SimpleString(text)) if text == "PONG" => Ok(()),
            _ => Err(self.pool.nonsense()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
