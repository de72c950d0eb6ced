//! Checks a namespace in Redis, and repairs it if asked to, while services are at work.
//!
//! The [`Walk`] reads keys in batches. A script looks at each batch and repairs it atomically, so that a fault was true
//! at one moment, and a repair fixes exactly what was found.
//!
//! On a cluster, each shard is checked as a single server is, and also whether each session is in the right shard. No
//! slot may be migrating: a script that meets a key in migration fails rather than take the key for missing, and the
//! last command for each shard fails if the shard has moved since the start, because keys may have been overlooked
//! then.
//!
//! Limit: live peers write a hash and its indexes together, so these differ by what clocks differ, and by a second or
//! two during which redis-sessions does not update `la`; differences up to `SLACK` are no faults. Buffered reads are in
//! neither.

mod connection;
mod indexes;
mod key_name;
mod keyspace;
mod masters;
mod sessions;
mod walk;

use std::time::Duration;

use deadpool_redis::redis::RedisError;

use self::{connection::CheckConnection, keyspace::CheckedKeyspace, masters::CheckedMasters, walk::Walk};
use crate::{
    session::Seconds,
    store::{
        Findings,
        redis::{
            endpoint::{
                address::{Address, Deployment},
                endpoints::Endpoints,
            },
            error::{elsewhere, reason},
        },
    },
};

/// Checks a namespace and reports the faults; on a cluster it has `shards` shards. `timeout` limits the connection to
/// each server. The error is one line for the operator.
pub(crate) fn check(
    address: Address,
    (namespace, shards): (&str, usize),
    timeout: Duration,
    now: Seconds,
    repair: bool,
    report: &mut dyn Findings,
) -> Result<(), String> {
    let deployment = address.mode.clone();
    let keyspace = CheckedKeyspace::new(&deployment, namespace, shards);
    // Neither the URL nor the command that Redis quotes: both may contain secrets.
    let explain = |cause: RedisError| {
        let why = match elsewhere(&cause) {
            None => reason(&cause),
            Some(_) if deployment == Deployment::Cluster => {
                "the cluster is moving slots: check again when it is done".to_owned()
            }
            Some(_) => "it is a node of a cluster, see --redis-mode".to_owned(),
        };
        format!("cannot check Redis: {why}")
    };
    let masters = CheckedMasters::open(Endpoints::new(address)?, timeout).map_err(explain)?;
    let mut connection = CheckConnection { masters, repair };
    if deployment == Deployment::Cluster {
        let stored = connection.shards(keyspace.shard(0).keys).map_err(explain)?;
        compare_shards(stored.as_deref(), keyspace.used())?;
    }
    Walk::new(connection, &keyspace, now, report).run().map_err(explain)
}

/// Fails unless the cluster stores this number of shards. Why: with another number, sessions in their right shards
/// would be removed as misplaced.
fn compare_shards(stored: Option<&str>, shards: usize) -> Result<(), String> {
    match stored {
        Some(stored) if stored == shards.to_string() => Ok(()),
        Some(stored) => Err(format!(
            "the sessions in this cluster are in {stored} shards: --shards must be the same"
        )),
        None => Err("no service has used this namespace of the cluster: it stores no number of shards".into()),
    }
}
