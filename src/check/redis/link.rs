//! The way to the server: one connection, scripts, and walks in batches.

use std::time::Duration;

use deadpool_redis::redis::{
    Client, Cmd, Connection, ConnectionInfo, FromRedisValue, RedisError, Script, ToRedisArgs, cmd, pipe,
};

/// How long the server may take to be reached.
const REACHED: Duration = Duration::from_secs(5);
/// How long it may take for one batch.
const ANSWERED: Duration = Duration::from_mins(1);
/// How many entries the server is asked for at once.
const COUNT: usize = 500;

/// Some entries, and the cursor to go on with: 0 at the beginning and at the end.
pub(super) type Batch = (u64, Vec<Vec<u8>>);

/// A connection, and what all scripts are told.
pub(super) struct Link {
    connection: Connection,
    prefix: String,
    channel: String,
    pub(super) repair: bool,
}

/// Each script with what stands in front of it.
macro_rules! script {
    ($name:literal) => {
        concat!(
            include_str!("../../store/redis/scripts/record.lua"),
            include_str!("scripts/common.lua"),
            include_str!(concat!("scripts/", $name, ".lua"))
        )
    };
}
pub(super) use script;

impl Link {
    pub(super) fn open(server: &ConnectionInfo, prefix: &str, channel: &str, repair: bool) -> Result<Self, RedisError> {
        // rustls has several providers of cryptography, and panics unless one is chosen; a second choice is refused, which is
        // as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let connection = Client::open(server.clone())?.get_connection_with_timeout(REACHED)?;
        connection.set_read_timeout(Some(ANSWERED))?;
        connection.set_write_timeout(Some(ANSWERED))?;
        Ok(Self {
            connection,
            prefix: prefix.to_owned(),
            channel: channel.to_owned(),
            repair,
        })
    }

    /// Runs a script of this folder with further arguments.
    pub(super) fn run<T: FromRedisValue>(&mut self, script: &str, args: &[impl ToRedisArgs]) -> Result<T, RedisError> {
        let script = Script::new(script);
        let mut call = script.key(format!("{}SESSIONS", self.prefix));
        call.arg(&self.prefix).arg(u8::from(self.repair)).arg(&self.channel);
        for arg in args {
            call.arg(arg);
        }
        call.invoke(&mut self.connection)
    }

    /// The next batch of all keys with the prefix.
    pub(super) fn keys(&mut self, cursor: u64) -> Result<Batch, RedisError> {
        let pattern = super::name::pattern(&self.prefix);
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(COUNT);
        scan.query(&mut self.connection)
    }

    /// The next batch of the members of a sorted set, without the scores between them; nothing of what is no such set.
    pub(super) fn members(&mut self, key: &str, cursor: u64) -> Result<Batch, RedisError> {
        let mut scan = cmd("ZSCAN");
        scan.arg(key).arg(cursor).arg("COUNT").arg(COUNT);
        let found: Result<Batch, _> = scan.query(&mut self.connection);
        let (cursor, pairs) = unless_of_another_type(found)?;
        Ok((cursor, pairs.into_iter().step_by(2).collect()))
    }

    /// The next batch of each of some sets; nothing of what is no set.
    pub(super) fn tokens(&mut self, sets: &[(String, u64)]) -> Result<Vec<Batch>, RedisError> {
        let mut scans = pipe();
        scans.ignore_errors();
        for (key, cursor) in sets {
            let mut scan = Cmd::new();
            scan.arg("SSCAN").arg(key).arg(cursor).arg("COUNT").arg(COUNT);
            scans.add_command(scan);
        }
        let found: Vec<Result<_, RedisError>> = scans.query(&mut self.connection)?;
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
