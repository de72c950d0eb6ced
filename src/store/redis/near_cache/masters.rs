//! The masters that the near cache subscribes to, and the heartbeat of each.

use std::{collections::HashMap, sync::Arc};

use deadpool_redis::redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, aio::MultiplexedConnection};

use crate::store::redis::{
    error::reason,
    pool::manager::{Manager, be_master, role},
    sentinel::query::Sentinels,
    topology::{cluster::Cluster, shards::Shards},
};

/// How the masters are found.
pub(crate) enum Masters {
    One(Manager),
    Sentinels(Manager, Arc<Sentinels>),
    Cluster(Cluster, Arc<Shards>),
}

/// The command that a master is sent as a heartbeat.
pub(super) enum Heartbeat {
    Ping,
    /// Whether it is a master: one that was replaced receives no invalidations.
    Role,
    /// A read of a key in each of its shards. It fails if the node has lost a shard, or is partitioned and knows it.
    Shards(Pipeline),
}

impl Masters {
    /// Every master by address, with its heartbeat.
    pub(super) async fn all(&self) -> Result<HashMap<String, Heartbeat>, String> {
        match self {
            Self::One(_) => Ok(HashMap::from([(String::new(), Heartbeat::Ping)])),
            Self::Sentinels(_, sentinels) => {
                let mut address = sentinels.seen();
                if address.is_empty() {
                    address = sentinels.address().await.map_err(|error| reason(&error))?;
                }
                Ok(HashMap::from([(address, Heartbeat::Role)]))
            }
            Self::Cluster(cluster, shards) => {
                let mut masters = HashMap::new();
                for keys in shards.all() {
                    let Some(address) = cluster.master(keys.slot()).await else {
                        return Err("a slot of the cluster has no master".to_owned());
                    };
                    let heartbeat = masters.entry(address).or_insert_with(Pipeline::new);
                    heartbeat.cmd("EXISTS").arg(keys.ends());
                }
                let masters = masters.into_iter();
                Ok(masters
                    .map(|(address, pipeline)| (address, Heartbeat::Shards(pipeline)))
                    .collect())
            }
        }
    }

    /// The manager that connects to a master.
    pub(super) fn manager(&self, address: &str) -> Manager {
        match self {
            Self::One(manager) | Self::Sentinels(manager, _) => manager.clone(),
            Self::Cluster(cluster, _) => cluster.manager(address),
        }
    }

    /// Asks for the masters again, as they may have changed.
    pub(super) fn request_refresh(&self) {
        if let Self::Cluster(cluster, _) = self {
            cluster.request_refresh();
        }
    }
}

impl Heartbeat {
    /// Sends the heartbeat. Fails unless the server is still the master of its sessions.
    pub(super) async fn send(&self, mut connection: MultiplexedConnection) -> Result<(), RedisError> {
        let replies = match self {
            Self::Ping => {
                let mut ping = Cmd::with_capacity(1, 4);
                ping.arg("PING");
                vec![connection.send_packed_command(&ping).await?]
            }
            Self::Role => return be_master(&connection.send_packed_command(&role()).await?),
            Self::Shards(pipeline) => connection.send_packed_commands(pipeline, 0, pipeline.len()).await?,
        };
        for reply in replies {
            if let Value::ServerError(error) = reply {
                let error = RedisError::from(error);
                // Changes of a shard that is migrating are published here until its migration ends.
                if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
