//! The servers: one connection to each that has sessions, and which of them has what.

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

/// How long it may take for one batch.
const ANSWERED: Duration = Duration::from_mins(1);

pub(super) struct Servers {
    connections: Vec<Blocking>,
    /// By slot of a cluster: which of them has it, or none. Empty if one has everything.
    owners: Vec<u16>,
}

impl Servers {
    /// Each has so long to be reached.
    pub(super) fn open(endpoints: Endpoints, timeout: Duration) -> Result<Self, RedisError> {
        // With a thread of its own: connections are looked after while a check is at work.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let ways = Ways {
            runtime: Arc::new(runtime),
            tls: endpoints.tls.clone(),
            timeout,
        };
        let (infos, owners) = match endpoints.mode.clone() {
            Deployment::Single => (endpoints.first, Vec::new()),
            Deployment::Sentinel(name) => {
                let sentinels = Sentinels::new(endpoints, name, timeout);
                (vec![ways.runtime.block_on(sentinels.master())?], Vec::new())
            }
            Deployment::Cluster => ways.masters(&endpoints)?,
        };
        let connections = infos.iter().map(|info| ways.connect(info));
        let connections = connections.collect::<Result<_, _>>()?;
        Ok(Self { connections, owners })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Blocking {
        &mut self.connections[place]
    }

    /// The one that has a shard, as far as was known at the beginning: who has not, refuses.
    pub(super) fn of(&mut self, keys: &Keys) -> Result<&mut Blocking, RedisError> {
        let place = self.owners.get(usize::from(keys.slot())).copied().unwrap_or_default();
        let connection = self.connections.get_mut(usize::from(place));
        connection.ok_or_else(|| io::Error::other("a part of the cluster has no master").into())
    }
}

/// How to connect.
struct Ways {
    runtime: Arc<Runtime>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

impl Ways {
    fn connect(&self, server: &ConnectionInfo) -> Result<Blocking, RedisError> {
        let way = (server, self.tls.clone());
        Blocking::connect(self.runtime.clone(), way, self.timeout, ANSWERED)
    }

    /// The masters of a cluster, and which of them has which slot, as the first node says that answers.
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
            0 => Err(io::Error::other("what answers is no cluster").into()),
            1 => Err(failures.remove(0)),
            _ => {
                let whys: Vec<_> = failures.iter().map(reason).collect();
                Err(io::Error::other(whys.join("; ")).into())
            }
        }
    }
}
