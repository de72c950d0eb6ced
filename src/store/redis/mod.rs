//! Sessions in Redis, in the layout that redis-sessions peers share ("classic", see [`keys`]).
//!
//! Every operation is one atomic script, transaction or command, and one round trip. Times are arguments: the clock of
//! the Redis server plays no part.

mod keys;
mod link;
mod pool;
mod reply;
mod script;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, fmt, sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, Pipeline};

use self::{keys::Keys, pool::Pool, script::Scripts};
use crate::{
    error::Error,
    metrics::Metrics,
    session::{App, Changes, MAX_DATA_BYTES, Record, Seconds, Session, Token, UserId},
};

/// The most sessions that one call of killall or wipe handles: Redis serves nobody else for the few milliseconds it takes.
const BATCH: usize = 500;

/// How to reach Redis. No `Debug`: the URL may hold a password.
pub struct Options {
    /// `redis://[user:password@]host[:port][/db]` or `redis+unix:///path`.
    pub url: String,
    /// What every key begins with, without the colon that follows it.
    pub namespace: String,
    /// The deadline around each operation. A round trip gets nine tenths of it, waiting for a connection included: who
    /// gives up first is who learns that Redis does not answer.
    pub timeout: Duration,
    /// How many connections all requests share; at least 1.
    pub connections: usize,
}

/// A Redis server, or a server that speaks its protocol.
pub struct Redis {
    pool: Pool,
    keys: Keys,
    scripts: Scripts,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis(…)")
    }
}

impl Redis {
    /// Gets ready to connect; Redis need not be up yet. Fails with one line, free of secrets, if the URL makes no sense.
    pub fn open(options: Options, metrics: Arc<Metrics>) -> Result<Self, String> {
        Ok(Self {
            pool: Pool::open(options.url, options.timeout * 9 / 10, options.connections)?,
            keys: Keys::new(&options.namespace),
            scripts: Scripts::new(),
            metrics,
        })
    }

    /// See [`Store::create`](super::Store::create).
    pub async fn create(&self, app: App, token: Token, record: Record) -> Result<(), Error> {
        let (keys, id) = (&self.keys, record.id.as_str());
        let mut hash = Cmd::with_capacity(18, 512);
        hash.arg("HSET").arg(keys.session(&app, &token));
        hash.arg("id")
            .arg(id)
            .arg("r")
            .arg(record.reads)
            .arg("w")
            .arg(record.writes);
        hash.arg("ip")
            .arg(record.ip.as_str())
            .arg("la")
            .arg(record.last_active)
            .arg("ttl")
            .arg(record.ttl);
        if let Some(data) = &record.data {
            hash.arg("d").arg(data.as_str());
        }
        if record.no_resave {
            hash.arg("no_resave").arg(1);
        }
        let session = keys::session_member(&token, id);
        let end = keys::end_member(&app, &token, id);
        let mut pipe = Pipeline::with_capacity(5);
        pipe.atomic();
        pipe.cmd("ZADD")
            .arg(keys.sessions(&app))
            .arg(record.last_active)
            .arg(session)
            .ignore();
        // GT: another session of this id may have been renewed by a clock ahead of ours.
        pipe.cmd("ZADD")
            .arg(keys.users(&app))
            .arg("GT")
            .arg(record.last_active)
            .arg(id)
            .ignore();
        pipe.cmd("ZADD").arg(keys.ends()).arg(record.end()).arg(end).ignore();
        pipe.cmd("SADD").arg(keys.tokens(&app, id)).arg(token.as_str()).ignore();
        pipe.add_command(hash).ignore();
        self.pool.transaction(&pipe).await
    }

    /// See [`Store::get`](super::Store::get).
    pub async fn get(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        let keys = &self.keys;
        let reply = self.pool.script(&self.scripts.get, |cmd| {
            cmd.arg(4)
                .arg(keys.session(&app, &token))
                .arg(keys.sessions(&app))
                .arg(keys.users(&app))
                .arg(keys.ends());
            cmd.arg(now)
                .arg(keys::session_member_prefix(&token))
                .arg(keys::app_prefix(&app));
        });
        let record = reply::record(reply.await?, &self.metrics)?;
        Ok(live(record, now).map(|record| record.view(now)))
    }

    /// See [`Store::set`](super::Store::set).
    pub async fn set(&self, app: App, token: Token, changes: Changes, now: Seconds) -> Result<Option<Session>, Error> {
        let keys = &self.keys;
        let mut pairs = Vec::with_capacity(changes.iter().len());
        for (key, value) in changes.iter() {
            // A string always has a JSON form.
            let key = serde_json::to_string(key).map_err(|_| Error::Internal)?;
            pairs.push((key, value.unwrap_or_default()));
        }
        let reply = self.pool.script(&self.scripts.set, |cmd| {
            cmd.arg(4)
                .arg(keys.session(&app, &token))
                .arg(keys.sessions(&app))
                .arg(keys.users(&app))
                .arg(keys.ends());
            cmd.arg(now)
                .arg(keys::session_member_prefix(&token))
                .arg(keys::app_prefix(&app));
            cmd.arg(keys.channel())
                .arg(keys::message(&app, &token))
                .arg(MAX_DATA_BYTES);
            for (key, value) in &pairs {
                cmd.arg(key).arg(value);
            }
        });
        let record = reply::record(reply.await?, &self.metrics)?;
        Ok(live(record, now).map(|record| record.view(now)))
    }

    /// See [`Store::activity`](super::Store::activity).
    pub async fn activity(&self, app: App, since: Seconds) -> Result<u64, Error> {
        let mut cmd = Cmd::with_capacity(4, 64);
        cmd.arg("ZCOUNT").arg(self.keys.users(&app)).arg(since).arg("+inf");
        reply::count(&self.pool.command(&cmd).await?)
    }

    /// See [`Store::soapp`](super::Store::soapp).
    pub async fn soapp(&self, app: App, since: Seconds, now: Seconds) -> Result<Vec<Session>, Error> {
        let keys = &self.keys;
        let reply = self.pool.script(&self.scripts.soapp, |cmd| {
            cmd.arg(1)
                .arg(keys.sessions(&app))
                .arg(since)
                .arg(keys.session_prefix(&app));
        });
        let records = reply::records(reply.await?, &self.metrics)?;
        Ok(records
            .into_iter()
            .filter_map(|record| live(Some(record), now))
            .map(|record| record.view(now))
            .collect())
    }

    /// See [`Store::soid`](super::Store::soid).
    pub async fn soid(&self, app: App, id: UserId, now: Seconds) -> Result<Vec<Session>, Error> {
        let keys = &self.keys;
        let reply = self.pool.script(&self.scripts.soid, |cmd| {
            cmd.arg(1)
                .arg(keys.tokens(&app, id.as_str()))
                .arg(keys.session_prefix(&app));
        });
        let mut records = reply::records(reply.await?, &self.metrics)?;
        records.retain(|record| !record.expired(now));
        records.sort_by_key(|record| Reverse(record.last_active));
        Ok(records.iter().map(|record| record.view(now)).collect())
    }

    /// See [`Store::kill`](super::Store::kill).
    pub async fn kill(&self, app: App, token: Token, now: Seconds) -> Result<bool, Error> {
        let keys = &self.keys;
        let reply = self.pool.script(&self.scripts.kill, |cmd| {
            cmd.arg(4)
                .arg(keys.session(&app, &token))
                .arg(keys.sessions(&app))
                .arg(keys.users(&app))
                .arg(keys.ends());
            cmd.arg(keys::session_member_prefix(&token))
                .arg(keys::app_prefix(&app))
                .arg(keys.tokens_prefix(&app));
            cmd.arg(token.as_str())
                .arg(keys.channel())
                .arg(keys::message(&app, &token));
        });
        let record = reply::record(reply.await?, &self.metrics)?;
        Ok(live(record, now).is_some())
    }

    /// See [`Store::killsoid`](super::Store::killsoid).
    pub async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        let (keys, id) = (&self.keys, id.as_str());
        let reply = self.pool.script(&self.scripts.killsoid, |cmd| {
            cmd.arg(4)
                .arg(keys.tokens(&app, id))
                .arg(keys.sessions(&app))
                .arg(keys.users(&app))
                .arg(keys.ends());
            cmd.arg(id)
                .arg(keys.session_prefix(&app))
                .arg(keys::app_prefix(&app))
                .arg(keys.channel());
        });
        reply::count(&reply.await?)
    }

    /// See [`Store::killall`](super::Store::killall).
    pub async fn killall(&self, app: App) -> Result<u64, Error> {
        let keys = &self.keys;
        let mut total = 0;
        loop {
            let reply = self.pool.script(&self.scripts.killall, |cmd| {
                cmd.arg(3)
                    .arg(keys.sessions(&app))
                    .arg(keys.users(&app))
                    .arg(keys.ends());
                cmd.arg(keys.session_prefix(&app))
                    .arg(keys.tokens_prefix(&app))
                    .arg(keys::app_prefix(&app));
                cmd.arg(keys.channel()).arg(BATCH);
            });
            let (killed, left) = reply::two_counts(&reply.await?)?;
            total += killed;
            if left == 0 {
                return Ok(total);
            }
        }
    }

    /// See [`Store::wipe`](super::Store::wipe).
    pub async fn wipe(&self, now: Seconds) -> Result<u64, Error> {
        let keys = &self.keys;
        let mut total = 0;
        loop {
            let reply = self.pool.script(&self.scripts.wipe, |cmd| {
                cmd.arg(1).arg(keys.ends()).arg(now).arg(BATCH);
                cmd.arg(keys.prefix())
                    .arg(keys::SESSIONS)
                    .arg(keys::USERS)
                    .arg(keys::TOKENS);
            });
            let (wiped, seen) = reply::two_counts(&reply.await?)?;
            total += wiped;
            if seen < BATCH as u64 {
                return Ok(total);
            }
        }
    }

    /// See [`Store::ping`](super::Store::ping).
    pub async fn ping(&self) -> Result<(), Error> {
        let mut cmd = Cmd::with_capacity(1, 4);
        cmd.arg("PING");
        self.pool.command(&cmd).await.map(drop)
    }

    /// Lets go of the connections. Operations under way finish; later ones fail.
    #[expect(
        clippy::unused_async,
        reason = "every store closes the same way, and the other one waits"
    )]
    pub async fn close(&self) -> Result<(), Error> {
        self.pool.close();
        Ok(())
    }
}

/// The record, unless it has expired.
fn live(record: Option<Record>, now: Seconds) -> Option<Record> {
    record.filter(|record| !record.expired(now))
}
