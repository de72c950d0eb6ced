//! The operations on one session.

use std::sync::Arc;

use deadpool_redis::redis::Cmd;
use tracing::Instrument;

use crate::{
    observability::metrics::Metrics,
    session::{App, Changes, MAX_DATA_BYTES, Record, Seconds, Session, Token},
    store::{
        Error, Key,
        redis::{
            decode,
            layout::{self, Keys},
            near_cache::cache::NearCache,
            operations::live::live,
            read_buffer::{
                buffer::{BufferedRead, FlushRace},
                flusher::Flusher,
            },
            scripts::Scripts,
            store::Redis,
            topology::{routing::Topology, shards::Shards},
        },
    },
};

impl Redis {
    /// See [`Store::create`](crate::store::Store::create).
    pub async fn create(&self, app: App, token: Token, mut record: Record) -> Result<Token, Error> {
        record.last_active = self.resolve_now(record.last_active).await?;
        let id = record.id.as_str();
        let token = self.shards.lead(token, &app, id);
        let keys = self.shards.of_id(&app, id);
        let reply = self.topology.change(keys, &self.scripts.create, |cmd| {
            cmd.arg(5)
                .arg(keys.session(&app, &token))
                .arg(keys.sessions(&app))
                .arg(keys.users(&app))
                .arg(keys.ends())
                .arg(keys.tokens(&app, id));
            cmd.arg(record.last_active)
                .arg(record.end())
                .arg(layout::session_member(&token, id))
                .arg(layout::end_member(&app, &token, id))
                .arg(id)
                .arg(token.as_str());
            cmd.arg(record.reads)
                .arg(record.writes)
                .arg(record.ip.as_str())
                .arg(record.ttl);
            if let Some(data) = &record.data {
                cmd.arg("d").arg(data.as_str());
            }
            if record.no_resave {
                cmd.arg("no_resave").arg(1);
            }
        });
        decode::counts::stored(&reply.await?)?;
        Ok(token)
    }

    /// See [`Store::get`](crate::store::Store::get).
    pub async fn get(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        let now = self.resolve_now(now).await?;
        let Some(keys) = self.shard(&token).await? else {
            return Ok(None);
        };
        let key = Key { app, token };
        if self.flusher.period.is_zero() {
            return self.get_and_renew(keys, &key, now).await;
        }
        let read = match self.flusher.buffer.read_cached(&key, now) {
            None => self.read_and_buffer(keys, &key, now).await?,
            cached => cached,
        };
        let Some(read) = read else {
            return Ok(None);
        };
        // Redis must learn of the read before the session ends there.
        let flush_by = now.saturating_add(self.flusher.margin());
        if read.end.is_some_and(|end| end < flush_by) {
            self.flush_detached(async move |flusher| flusher.flush_one(&key).await)
                .await?;
        }
        Ok(Some(read.session))
    }

    /// A get that reads from Redis and buffers the read.
    async fn read_and_buffer(&self, keys: &Keys, key: &Key, now: Seconds) -> Result<Option<BufferedRead>, Error> {
        let buffer = &self.flusher.buffer;
        loop {
            let mark = buffer.mark(key);
            let Some(record) = self.load(keys, key).await? else {
                buffer.forget(key);
                return Ok(None);
            };
            match buffer.read(key, mark, record, now) {
                Ok(read) => return Ok(read),
                Err(FlushRace) => buffer.wait_for_flush(key).await,
            }
        }
    }

    /// See [`Store::peek`](crate::store::Store::peek).
    pub async fn peek(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        let now = self.resolve_now(now).await?;
        let Some(keys) = self.shard(&token).await? else {
            return Ok(None);
        };
        let key = Key { app, token };
        let buffer = &self.flusher.buffer;
        if let Some(record) = buffer.look_cached(&key, now) {
            return Ok(Some(record.view(now)));
        }
        loop {
            let mark = buffer.mark(&key);
            let Some(mut record) = self.load(keys, &key).await? else {
                buffer.forget(&key);
                return Ok(None);
            };
            if buffer.overlay(&key, mark, &mut record).is_ok() {
                return Ok(live(Some(record), now).map(|record| record.view(now)));
            }
            buffer.wait_for_flush(&key).await;
        }
    }

    /// One session as Redis has it, without buffered reads.
    async fn load(&self, keys: &Keys, key: &Key) -> Result<Option<Record>, Error> {
        let mut cmd = Cmd::with_capacity(10, 192);
        cmd.arg("HMGET").arg(keys.session(&key.app, &key.token));
        for field in decode::record::FIELDS {
            cmd.arg(field);
        }
        decode::record::hash(self.topology.read(keys, &cmd).await?.as_ref(), &self.metrics)
    }

    /// A get that counts and renews in the same script.
    async fn get_and_renew(&self, keys: &Keys, key: &Key, now: Seconds) -> Result<Option<Session>, Error> {
        let Key { app, token } = key;
        let reply = self.topology.script(keys, &self.scripts.get, |cmd| {
            cmd.arg(4)
                .arg(keys.session(app, token))
                .arg(keys.sessions(app))
                .arg(keys.users(app))
                .arg(keys.ends());
            cmd.arg(now)
                .arg(token.as_str())
                .arg(layout::message(app, token))
                .arg(keys.tokens_prefix(app));
        });
        let record = decode::record::record(reply.await?, &self.metrics)?;
        Ok(live(record, now).map(|record| record.view(now)))
    }

    /// See [`Store::set`](crate::store::Store::set).
    pub async fn set(&self, app: App, token: Token, changes: Changes, now: Seconds) -> Result<Option<Session>, Error> {
        let now = self.resolve_now(now).await?;
        let Some(keys) = self.shard(&token).await? else {
            return Ok(None);
        };
        let key = Key { app, token };
        let set_guard = self.flusher.buffer.begin_set(key).await;
        let _change = self.near_cache.as_ref().map(|near| near.begin_change(key));
        let mut pairs = Vec::with_capacity(changes.iter().len());
        for (key, value) in changes.iter() {
            // Serializing a string cannot fail.
            let key = serde_json::to_string(key).map_err(|_| Error::Internal)?;
            pairs.push((key, value.unwrap_or_default()));
        }
        let reply = self.topology.change(keys, &self.scripts.set, |cmd| {
            cmd.arg(4)
                .arg(keys.session(&app, &token))
                .arg(keys.sessions(&app))
                .arg(keys.users(&app))
                .arg(keys.ends());
            cmd.arg(now)
                .arg(token.as_str())
                .arg(layout::message(&app, &token))
                .arg(keys.channel());
            cmd.arg(MAX_DATA_BYTES)
                .arg(set_guard.last_active)
                .arg(keys.tokens_prefix(&app));
            for (key, value) in &pairs {
                cmd.arg(key).arg(value);
            }
        });
        let record = decode::record::record(reply.await?, &self.metrics)?;
        // The script decided whether the session was alive; a read that was buffered since then must not change that.
        Ok(live(record, now).map(|mut record| {
            set_guard.take_in(&mut record);
            record.view(now)
        }))
    }

    /// See [`Store::kill`](crate::store::Store::kill). A kill completes even if the client disconnects.
    pub async fn kill(&self, app: App, token: Token, now: Seconds) -> Result<bool, Error> {
        if self.shard(&token).await?.is_none() {
            return Ok(false);
        }
        let kill = Kill {
            topology: self.topology.clone(),
            shards: self.shards.clone(),
            scripts: self.scripts.clone(),
            flusher: self.flusher.clone(),
            near_cache: self.near_cache.clone(),
            metrics: self.metrics.clone(),
            key: Key { app, token },
        };
        let killed = tokio::spawn(kill.run().in_current_span());
        let record = killed.await.unwrap_or(Err(Error::Internal))?;
        // The kill is done; an unknown time must not turn it into an error.
        let now = self.resolve_now(now).await.unwrap_or(now);
        Ok(live(record, now).is_some())
    }
}

/// A kill in a task of its own, so that it completes even if its request is dropped.
struct Kill {
    topology: Arc<Topology>,
    shards: Arc<Shards>,
    scripts: Arc<Scripts>,
    flusher: Arc<Flusher>,
    near_cache: Option<Arc<NearCache>>,
    metrics: Arc<Metrics>,
    key: Key,
}

impl Kill {
    /// Kills the session and returns it as it was, with its buffered reads.
    async fn run(self) -> Result<Option<Record>, Error> {
        let Key { app, token } = self.key;
        let Some(keys) = self.shards.of(&token) else {
            return Ok(None);
        };
        let _change = self.near_cache.as_ref().map(|near| near.begin_change(self.key));
        let read = self.flusher.buffer.last_active(&self.key);
        let reply = self.topology.change(keys, &self.scripts.kill, |cmd| {
            cmd.arg(4)
                .arg(keys.session(&app, &token))
                .arg(keys.sessions(&app))
                .arg(keys.users(&app))
                .arg(keys.ends());
            cmd.arg(token.as_str())
                .arg(layout::message(&app, &token))
                .arg(keys.tokens_prefix(&app))
                .arg(keys.channel())
                .arg(read);
        });
        let mut record = decode::record::record(reply.await?, &self.metrics)?;
        if let Some(record) = &mut record {
            record.renew(read);
        }
        Ok(record)
    }
}
