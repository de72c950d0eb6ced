//! Runs the scripts of a check, and scans keys and members in pages.

use deadpool_redis::redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind, ToRedisArgs, cmd, pipe,
};

use super::{keyspace::pattern, masters::CheckedMasters};
use crate::store::redis::layout::Keys;

/// `COUNT` of each scan.
const SCAN_COUNT: usize = 500;

/// A page of a scan: the next cursor, 0 at the end, and some entries.
pub(super) type ScanPage<T = Vec<u8>> = (u64, Vec<T>);

/// The masters, and whether scripts repair what they find.
pub(super) struct CheckConnection {
    pub(super) masters: CheckedMasters,
    pub(super) repair: bool,
}

/// The source of a script of this folder, with the shared files prepended.
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

impl CheckConnection {
    /// Runs a script on a shard; `args` follow the common arguments.
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
        let server = self.masters.of(keys)?;
        match call("EVALSHA", Script::new(script).get_hash()).query(server) {
            Err(cause) if cause.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call("EVAL", script).query(server)
            }
            reply => reply,
        }
    }

    /// The number of shards that a cluster stores in its first shard.
    pub(super) fn shards(&mut self, first: &Keys) -> Result<Option<String>, RedisError> {
        cmd("GET").arg(first.shards()).query(self.masters.of(first)?)
    }

    /// The next page of the keys of a server that begin with a prefix.
    pub(super) fn keys(&mut self, server: usize, prefix: &str, cursor: u64) -> Result<ScanPage, RedisError> {
        let mut scan = cmd("SCAN");
        let pattern = pattern(prefix);
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
        scan.query(self.masters.at(server))
    }

    /// The next page of a sorted set, members with scores; an empty one if the key is of another type.
    pub(super) fn members(
        &mut self,
        keys: &Keys,
        key: &str,
        cursor: u64,
    ) -> Result<ScanPage<(Vec<u8>, f64)>, RedisError> {
        let mut scan = cmd("ZSCAN");
        scan.arg(key).arg(cursor).arg("COUNT").arg(SCAN_COUNT);
        unless_of_another_type(scan.query(self.masters.of(keys)?))
    }

    /// The next page of each of some sets; an empty one for a key of another type.
    pub(super) fn tokens(&mut self, keys: &Keys, sets: &[(String, u64)]) -> Result<Vec<ScanPage>, RedisError> {
        let mut scans = pipe();
        scans.ignore_errors();
        for (key, cursor) in sets {
            let mut scan = Cmd::new();
            scan.arg("SSCAN").arg(key).arg(cursor).arg("COUNT").arg(SCAN_COUNT);
            scans.add_command(scan);
        }
        let found: Vec<Result<_, RedisError>> = scans.query(self.masters.of(keys)?)?;
        found.into_iter().map(unless_of_another_type).collect()
    }
}

/// Turns a WRONGTYPE error, which the walk has reported already, into an empty page.
fn unless_of_another_type<T: Default>(found: Result<T, RedisError>) -> Result<T, RedisError> {
    match found {
        Err(cause) if cause.code() == Some("WRONGTYPE") => Ok(T::default()),
        found => found,
    }
}
