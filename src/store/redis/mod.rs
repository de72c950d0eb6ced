//! Sessions in Redis, in the layout that redis-sessions peers share ("classic", see `keys`).
//!
//! Every operation is one atomic script, transaction or command, and one round trip. A get is one plain read; what it
//! changes follows a little later (`pending`, `touch`), or in one script with it where that is switched off. Times are
//! arguments: the clock of the Redis server plays no part.

mod keys;
mod link;
mod pending;
mod pool;
mod queue;
mod reply;
mod script;
#[cfg(test)]
mod tests;
mod touch;

use std::{cmp::Reverse, fmt, sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, Pipeline};
use tokio::task::AbortHandle;

use self::{keys::Keys, pool::Pool, script::Scripts, touch::Touches};
use crate::{
    error::Error,
    metrics::Metrics,
    session::{App, Changes, MAX_DATA_BYTES, Record, Seconds, Session, Token, UserId},
    store::Key,
};

/// The most sessions that one call of killall or wipe handles: Redis serves nobody else for the few milliseconds it takes.
const BATCH: usize = 500;

/// How to reach Redis. No `Debug`: the URL may hold a password.
pub struct Options {
    /// `redis://[user:password@]host[:port][/db]`, the same with `rediss://` for TLS, or `redis+unix:///path`.
    pub url: String,
    /// What every key begins with, without the colon that follows it.
    pub namespace: String,
    /// The deadline around each operation. A round trip gets nine tenths of it, waiting for a connection included: who
    /// gives up first is who learns that Redis does not answer.
    pub timeout: Duration,
    /// How many connections all requests share; at least 1.
    pub connections: usize,
    /// How long the reads of a get may take to reach Redis; 0: they are part of the get.
    pub touch: Duration,
}

/// A Redis server, or a server that speaks its protocol.
pub struct Redis {
    pool: Arc<Pool>,
    keys: Arc<Keys>,
    scripts: Scripts,
    touches: Arc<Touches>,
    tasks: Vec<AbortHandle>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis(…)")
    }
}

impl Redis {
    /// Gets ready to connect; Redis need not be up yet. Fails with one line, free of secrets, if the URL makes no sense.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(options: Options, metrics: Arc<Metrics>) -> Result<Self, String> {
        let pool = Pool::open(options.url, options.timeout * 9 / 10, options.connections)?;
        let (pool, keys) = (Arc::new(pool), Arc::new(Keys::new(&options.namespace)));
        let touches = Touches::new(options.touch, pool.clone(), keys.clone(), metrics.clone());
        let touches = Arc::new(touches);
        let queue = || tokio::spawn(pool.clone().serve_queue()).abort_handle();
        let mut tasks: Vec<_> = std::iter::repeat_with(queue).take(queue::UNDER_WAY).collect();
        if !options.touch.is_zero() {
            tasks.push(tokio::spawn(touches.clone().run()).abort_handle());
        }
        Ok(Self {
            pool,
            keys,
            scripts: Scripts::new(),
            touches,
            tasks,
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
        if self.touches.every.is_zero() {
            return self.get_and_touch(app, token, now).await;
        }
        let key = Key { app, token };
        let pending = &self.touches.pending;
        loop {
            let mark = pending.mark(&key);
            let Some(mut record) = self.load(&key).await? else {
                return Ok(None);
            };
            let due = !record.no_resave && record.end() < now.saturating_add(self.touches.margin());
            let Ok(session) = pending.read(&key, mark, &mut record, now) else {
                pending.settled(&key).await;
                continue;
            };
            if due && session.is_some() {
                self.written(async move |touches| touches.flush_one(&key).await).await?;
            }
            return Ok(session);
        }
    }

    /// See [`Store::look`](super::Store::look).
    pub async fn look(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        let key = Key { app, token };
        let pending = &self.touches.pending;
        loop {
            let mark = pending.mark(&key);
            let Some(mut record) = self.load(&key).await? else {
                return Ok(None);
            };
            if pending.look(&key, mark, &mut record).is_ok() {
                return Ok(live(Some(record), now).map(|record| record.view(now)));
            }
            pending.settled(&key).await;
        }
    }

    /// One session as Redis has it.
    async fn load(&self, key: &Key) -> Result<Option<Record>, Error> {
        let mut cmd = Cmd::with_capacity(10, 192);
        cmd.arg("HMGET").arg(self.keys.session(&key.app, &key.token));
        for field in reply::FIELDS {
            cmd.arg(field);
        }
        reply::hash(self.pool.read(cmd).await?, &self.metrics)
    }

    /// Waits until notes are written. The client may have gone before: the work is not cut short by it.
    async fn written<F>(&self, flush: impl FnOnce(Arc<Touches>) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let flush = tokio::spawn(flush(self.touches.clone()));
        flush.await.unwrap_or(Err(Error::Internal))
    }

    /// A get that leaves nothing for later.
    async fn get_and_touch(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
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
        let setting = self.touches.pending.set(Key { app, token }).await;
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
                .arg(MAX_DATA_BYTES)
                .arg(setting.last_active);
            for (key, value) in &pairs {
                cmd.arg(key).arg(value);
            }
        });
        let record = reply::record(reply.await?, &self.metrics)?;
        // Whether it was alive the script has decided; a get since then may see it differently.
        Ok(live(record, now).map(|mut record| {
            setting.take_in(&mut record);
            record.view(now)
        }))
    }

    /// See [`Store::activity`](super::Store::activity).
    pub async fn activity(&self, app: App, since: Seconds) -> Result<u64, Error> {
        self.indexes_of(app).await?;
        let mut cmd = Cmd::with_capacity(4, 64);
        cmd.arg("ZCOUNT").arg(self.keys.users(&app)).arg(since).arg("+inf");
        reply::count(&self.pool.command(&cmd).await?)
    }

    /// See [`Store::soapp`](super::Store::soapp).
    pub async fn soapp(&self, app: App, since: Seconds, now: Seconds) -> Result<Vec<Session>, Error> {
        self.indexes_of(app).await?;
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
        let (keys, pending) = (&self.keys, &self.touches.pending);
        'again: loop {
            let marks = pending.marks();
            let reply = self.pool.script(&self.scripts.soid, |cmd| {
                cmd.arg(1)
                    .arg(keys.tokens(&app, id.as_str()))
                    .arg(keys.session_prefix(&app));
            });
            let mut records = Vec::new();
            for (token, mut record) in reply::tokens_and_records(reply.await?, &self.metrics)? {
                // A token of another form is a peer's; nobody can have read it here.
                if let Ok(token) = Token::parse(&token) {
                    let key = Key { app, token };
                    if pending.look(&key, marks.of(&key), &mut record).is_err() {
                        pending.settled(&key).await;
                        continue 'again;
                    }
                }
                records.push(record);
            }
            records.retain(|record| !record.expired(now));
            records.sort_by_key(|record| Reverse(record.last_active));
            return Ok(records.iter().map(|record| record.view(now)).collect());
        }
    }

    /// Brings the indexes of one app up to date.
    async fn indexes_of(&self, app: App) -> Result<(), Error> {
        self.written(async move |touches| touches.flush(|key| key.app == app).await)
            .await
    }

    /// See [`Store::kill`](super::Store::kill).
    pub async fn kill(&self, app: App, token: Token, now: Seconds) -> Result<bool, Error> {
        let keys = &self.keys;
        let read = self.touches.pending.last_active(&Key { app, token });
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
                .arg(keys::message(&app, &token))
                .arg(read);
        });
        let mut record = reply::record(reply.await?, &self.metrics)?;
        if let Some(record) = &mut record {
            record.touch(read);
        }
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
        self.written(async move |touches| touches.flush(|_| true).await).await?;
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

    /// Writes what is noted and lets go of the connections. Operations under way finish; later ones fail.
    pub async fn close(&self) -> Result<(), Error> {
        let written = self.written(async move |touches| touches.flush(|_| true).await).await;
        self.pool.close();
        written
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The record, unless it has expired.
fn live(record: Option<Record>, now: Seconds) -> Option<Record> {
    record.filter(|record| !record.expired(now))
}
