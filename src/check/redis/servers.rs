//! The servers: one connection to each that has sessions, and which of them has what.

use std::{io, time::Duration};

use deadpool_redis::redis::{Client, Connection, ConnectionInfo, RedisError, cmd};

use crate::store::redis::{Endpoints, Keys, Mode, Sentinels, owners, ranges};

/// How long it may take for one batch.
const ANSWERED: Duration = Duration::from_mins(1);

pub(super) struct Servers {
    connections: Vec<Connection>,
    /// By slot of a cluster: which of them has it, or none. Empty if one has everything.
    owners: Vec<u16>,
}

impl Servers {
    /// Each has so long to be reached.
    pub(super) fn open(endpoints: Endpoints, timeout: Duration) -> Result<Self, RedisError> {
        let (infos, owners) = match endpoints.mode.clone() {
            Mode::Single => (endpoints.first, Vec::new()),
            Mode::Sentinel(name) => (vec![master(endpoints, name, timeout)?], Vec::new()),
            Mode::Cluster => masters(&endpoints, timeout)?,
        };
        let connections = infos.into_iter().map(|info| connect(info, timeout));
        let connections = connections.collect::<Result<_, _>>()?;
        Ok(Self { connections, owners })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Connection {
        &mut self.connections[place]
    }

    /// The one that has a shard, as far as was known at the beginning: who has not, refuses.
    pub(super) fn of(&mut self, keys: &Keys) -> Result<&mut Connection, RedisError> {
        let place = self.owners.get(usize::from(keys.slot())).copied().unwrap_or_default();
        let connection = self.connections.get_mut(usize::from(place));
        connection.ok_or_else(|| io::Error::other("a part of the cluster has no master").into())
    }
}

fn connect(server: ConnectionInfo, timeout: Duration) -> Result<Connection, RedisError> {
    let connection = Client::open(server)?.get_connection_with_timeout(timeout)?;
    connection.set_read_timeout(Some(ANSWERED))?;
    connection.set_write_timeout(Some(ANSWERED))?;
    Ok(connection)
}

/// The master that sentinels know.
fn master(endpoints: Endpoints, name: String, timeout: Duration) -> Result<ConnectionInfo, RedisError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Sentinels::new(endpoints, name, timeout).master())
}

/// The masters of a cluster, and which of them has which slot, as the first node says that answers.
fn masters(endpoints: &Endpoints, timeout: Duration) -> Result<(Vec<ConnectionInfo>, Vec<u16>), RedisError> {
    let mut failure = None;
    for seed in endpoints.seeds() {
        let answer =
            connect(endpoints.at(&seed), timeout).and_then(|mut node| cmd("CLUSTER").arg("SLOTS").query(&mut node));
        match answer.map(|answer| ranges(answer, &seed)) {
            Ok(Some(view)) => {
                let (addresses, owners) = owners(&[view]);
                let infos = addresses.iter().map(|address| endpoints.at(address));
                return Ok((infos.collect(), owners));
            }
            Ok(None) => {}
            // "This instance has cluster support disabled"
            Err(cause) if cause.code() == Some("ERR") => {}
            Err(cause) => failure = Some(cause),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::other("what answers is no cluster").into()))
}
