//! What the servers are asked: scripts, and walks in batches.

use deadpool_redis::redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind, ToRedisArgs, cmd, pipe,
};

use super::{layout::pattern, servers::Servers};
use crate::store::redis::layout::Keys;

/// How many entries a server is asked for at once.
const COUNT: usize = 500;

/// Some entries, and the cursor to go on with: 0 at the beginning and at the end.
pub(super) type Batch<T = Vec<u8>> = (u64, Vec<T>);

/// The servers, and whether scripts are to mend what they find.
pub(super) struct Link {
    pub(super) servers: Servers,
    pub(super) repair: bool,
}

/// Each script with what stands in front of it.
macro_rules! script {
    ($name:literal) => {
        concat!(
            include_str!("../scripts/record.lua"),
            include_str!("../scripts/renewal.lua"),
            include_str!("scripts/common.lua"),
            include_str!(concat!("scripts/", $name, ".lua"))
        )
    };
}
pub(super) use script;

impl Link {
    /// Runs a script of this folder on a shard, with further arguments.
    pub(super) fn run<T: FromRedisValue>(
        &mut self,
        keys: &Keys,
        script: &str,
        args: &[impl ToRedisArgs],
    ) -> Result<T, RedisError> {
        let call = |command, script| {
            let mut call = cmd(command);
            call.arg(script).arg(1).arg(keys.ends());
            call.arg(keys.prefix())
                .arg(u8::from(self.repair))
                .arg(keys.channel())
                .arg(args);
            call
        };
        let server = self.servers.of(keys)?;
        match call("EVALSHA", Script::new(script).get_hash()).query(server) {
            Err(cause) if cause.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call("EVAL", script).query(server)
            }
            reply => reply,
        }
    }

    /// The note of a cluster on how many shards it has, which is in the first of them.
    pub(super) fn shards(&mut self, first: &Keys) -> Result<Option<String>, RedisError> {
        cmd("GET").arg(first.shards()).query(self.servers.of(first)?)
    }

    /// The next batch of all keys of a server that begin so.
    pub(super) fn keys(&mut self, server: usize, beginning: &str, cursor: u64) -> Result<Batch, RedisError> {
        let mut scan = cmd("SCAN");
        let pattern = pattern(beginning);
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(COUNT);
        scan.query(self.servers.at(server))
    }

    /// The next batch of the members of a sorted set, each with its score; nothing of what is no such set.
    pub(super) fn members(&mut self, keys: &Keys, key: &str, cursor: u64) -> Result<Batch<(Vec<u8>, f64)>, RedisError> {
        let mut scan = cmd("ZSCAN");
        scan.arg(key).arg(cursor).arg("COUNT").arg(COUNT);
        unless_of_another_type(scan.query(self.servers.of(keys)?))
    }

    /// The next batch of each of some sets; nothing of what is no set.
    pub(super) fn tokens(&mut self, keys: &Keys, sets: &[(String, u64)]) -> Result<Vec<Batch>, RedisError> {
        let mut scans = pipe();
        scans.ignore_errors();
        for (key, cursor) in sets {
            let mut scan = Cmd::new();
            scan.arg("SSCAN").arg(key).arg(cursor).arg("COUNT").arg(COUNT);
            scans.add_command(scan);
        }
        let found: Vec<Result<_, RedisError>> = scans.query(self.servers.of(keys)?)?;
        found.into_iter().map(unless_of_another_type).collect()
    }
}

/// What was found, or nothing if the key is of a wrong type. That has been told of.
fn unless_of_another_type<T: Default>(found: Result<T, RedisError>) -> Result<T, RedisError> {
    match found {
        Err(cause) if cause.code() == Some("WRONGTYPE") => Ok(T::default()),
        found => found,
    }
}
