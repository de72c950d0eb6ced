//! Sends the commands of the store to the server that holds their shard.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, Value};

use crate::store::{
    Error,
    redis::{
        connection::resp::RawReply,
        decode::nonsense::nonsense,
        error::CommandError,
        layout::Keys,
        pool::{request::ServerRequest, server::Server},
        scripts::Script,
        topology::cluster::Cluster,
    },
};

/// The server or servers behind the store.
pub(crate) enum Topology {
    /// One server, or the master that sentinels name.
    One(Arc<Server>),
    /// Masters that share the shards.
    Cluster(Cluster),
}

impl Topology {
    /// Sends a command that reads a key of a shard. `None`: the key is of another type.
    pub(crate) async fn read(&self, keys: &Keys, cmd: &Cmd) -> Result<Option<RawReply>, Error> {
        match self.answer(keys, || ServerRequest::Read(cmd)).await {
            Err(CommandError::WrongType) => Ok(None),
            reply => Ok(Some(reply?)),
        }
    }

    /// Runs a script on a shard; `arguments` adds the number of keys, the keys and the arguments.
    pub(crate) async fn script(
        &self,
        keys: &Keys,
        script: &Script,
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, Error> {
        value(&self.answer(keys, || ServerRequest::Script(script, &arguments)).await?)
    }

    /// The same for a script whose changes must reach as many replicas as the operator wants (`--redis-wait`).
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
            Self::One(server) => server.answer_alone(request()).await,
            Self::Cluster(cluster) => cluster.answer(keys.slot(), request).await,
        }
    }

    /// Fails unless a token that leads to no shard certainly belongs to no session.
    pub(crate) async fn confirm_shards(&self) -> Result<(), Error> {
        match self {
            Self::One(_) => Ok(()),
            Self::Cluster(cluster) => Ok(cluster.confirm_shard_count().await?),
        }
    }

    /// The time of the server, or the median of the masters that answer soon.
    pub(crate) async fn time(&self) -> Result<Duration, CommandError> {
        match self {
            Self::One(server) => server.time().await,
            Self::Cluster(cluster) => cluster.time().await,
        }
    }

    /// Fails unless the server, or any master of a cluster, answers.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        match self {
            Self::One(server) => server.ping().await?,
            Self::Cluster(cluster) => cluster.ping().await?,
        }
        Ok(())
    }

    /// Accepts no more requests.
    pub(crate) fn close(&self) {
        match self {
            Self::One(server) => server.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}

fn value(reply: &RawReply) -> Result<Value, Error> {
    reply.value().map_err(|_| nonsense())
}
