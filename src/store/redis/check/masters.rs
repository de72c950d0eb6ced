//! One connection to each master, and which master serves which slot.

use std::{io, sync::Arc, time::Duration};

use deadpool_redis::redis::{ConnectionInfo, RedisError, cmd};
use rustls::ClientConfig;
use tokio::runtime::{Builder, Runtime};

use crate::store::redis::{
    connection::blocking::Blocking,
    endpoint::{address::Deployment, endpoints::Endpoints},
    error::reason,
    layout::Keys,
    sentinel::query::Sentinels,
    topology::slot_map::{owners, ranges},
};

/// How long one batch may take.
const REPLY_TIMEOUT: Duration = Duration::from_mins(1);

pub(super) struct CheckedMasters {
    connections: Vec<Blocking>,
    /// The index into `connections` of each slot's master; past its end if a slot has none. Empty if one server has
    /// everything.
    owners: Vec<u16>,
}

impl CheckedMasters {
    /// Connects to each master within `timeout`.
    pub(super) fn open(endpoints: Endpoints, timeout: Duration) -> Result<Self, RedisError> {
        // A worker thread drives the connections while the check computes.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let connector = Connector {
            runtime: Arc::new(runtime),
            tls: endpoints.tls.clone(),
            timeout,
        };
        let (infos, owners) = match endpoints.mode.clone() {
            Deployment::Single => (endpoints.first, Vec::new()),
            Deployment::Sentinel(name) => {
                let sentinels = Sentinels::new(endpoints, name, timeout);
                (vec![connector.runtime.block_on(sentinels.master())?], Vec::new())
            }
            Deployment::Cluster => connector.masters(&endpoints)?,
        };
        let connections = infos.iter().map(|info| connector.connect(info));
        let connections = connections.collect::<Result<_, _>>()?;
        Ok(Self { connections, owners })
    }

    /// The number of masters.
    pub(super) fn count(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Blocking {
        &mut self.connections[place]
    }

    /// The master of a shard when the check began. If the shard has moved since, this server refuses the command.
    pub(super) fn of(&mut self, keys: &Keys) -> Result<&mut Blocking, RedisError> {
        let place = self.owners.get(usize::from(keys.slot())).copied().unwrap_or_default();
        let connection = self.connections.get_mut(usize::from(place));
        connection.ok_or_else(|| io::Error::other("some slots of the cluster have no master").into())
    }
}

/// Connects to servers.
struct Connector {
    runtime: Arc<Runtime>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

impl Connector {
    fn connect(&self, server: &ConnectionInfo) -> Result<Blocking, RedisError> {
        let way = (server, self.tls.clone());
        Blocking::connect(self.runtime.clone(), way, self.timeout, REPLY_TIMEOUT)
    }

    /// The masters of a cluster and the master of each slot, from the first node that replies.
    fn masters(&self, endpoints: &Endpoints) -> Result<(Vec<ConnectionInfo>, Vec<u16>), RedisError> {
        let mut failures = Vec::new();
        for seed in endpoints.seeds() {
            let node = self.connect(&endpoints.at(&seed));
            let answer = node.and_then(|mut node| cmd("CLUSTER").arg("SLOTS").query(&mut node));
            match answer.map(|answer| ranges(answer, &seed)) {
                Ok(Some(view)) => {
                    let (addresses, owners) = owners(&[view]);
                    let infos = addresses.iter().map(|address| endpoints.at(address));
                    return Ok((infos.collect(), owners));
                }
                Ok(None) => {}
                // "This instance has cluster support disabled"
                Err(cause) if cause.code() == Some("ERR") => {}
                Err(cause) => failures.push(cause),
            }
        }
        match failures.len() {
            0 => Err(io::Error::other("the server is not a cluster").into()),
            1 => Err(failures.remove(0)),
            _ => {
                let whys: Vec<_> = failures.iter().map(reason).collect();
                Err(io::Error::other(whys.join("; ")).into())
            }
        }
    }
}
