//! The server or servers behind the store.

use std::time::Duration;

use deadpool_redis::redis::{Cmd, Value};

use crate::store::{
    Error,
    redis::{
        connection::resp::RawReply,
        decode::nonsense::nonsense,
        error::CommandError,
        layout::Keys,
        pool::{connections::ServerRequest, server::Server},
        scripts::Script,
        topology::cluster::Cluster,
    },
};

/// Where a shard is, one server says or a cluster.
pub(crate) enum Topology {
    One(Server),
    Cluster(Cluster),
}

impl Topology {
    /// Sends a command that reads a key of a shard. `None`: it holds something else.
    pub(crate) async fn read(&self, keys: &Keys, cmd: &Cmd) -> Result<Option<RawReply>, Error> {
        match self.answer(keys, || ServerRequest::Read(cmd)).await {
            Err(CommandError::WrongType) => Ok(None),
            reply => Ok(Some(reply?)),
        }
    }

    /// Runs a script on a shard; `arguments` adds the number of keys, the keys and the rest.
    pub(crate) async fn script(
        &self,
        keys: &Keys,
        script: &Script,
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, Error> {
        value(&self.answer(keys, || ServerRequest::Script(script, &arguments)).await?)
    }

    /// The same for a script that changes what must not be lost: so many replicas must have it as the operator wants.
    pub(crate) async fn change(
        &self,
        keys: &Keys,
        script: &Script,
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, Error> {
        value(&self.answer(keys, || ServerRequest::Change(script, &arguments)).await?)
    }

    async fn answer<'a>(&self, keys: &Keys, request: impl Fn() -> ServerRequest<'a>) -> Result<RawReply, CommandError> {
        match self {
            Self::One(server) => server.answer(request()).await,
            Self::Cluster(cluster) => cluster.answer(keys.slot(), request).await,
        }
    }

    /// Fails unless it is known that a token of no shard is nobody's.
    pub(crate) async fn know_all_shards(&self) -> Result<(), Error> {
        match self {
            Self::One(_) => Ok(()),
            Self::Cluster(cluster) => Ok(cluster.is_ours().await?),
        }
    }

    /// The time of the server, or the median of those of the masters that answer soon.
    pub(crate) async fn time(&self) -> Result<Duration, CommandError> {
        match self {
            Self::One(server) => server.pool.time().await,
            Self::Cluster(cluster) => cluster.time().await,
        }
    }

    /// Whether anybody answers.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        match self {
            Self::One(server) => server.ping().await?,
            Self::Cluster(cluster) => cluster.ping().await?,
        }
        Ok(())
    }

    /// Lets go of the connections.
    pub(crate) fn close(&self) {
        match self {
            Self::One(server) => server.pool.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}

fn value(of: &RawReply) -> Result<Value, Error> {
    of.value().map_err(|_| nonsense())
}
