//! The operations that count and list sessions.

use std::cmp::Reverse;

use deadpool_redis::redis::Cmd;
use futures_util::future::try_join_all;

use super::{Redis, live, reply};
use crate::{
    error::Error,
    session::{App, Record, Seconds, Session, Token, UserId},
    store::Key,
};

impl Redis {
    /// See [`Store::activity`](crate::store::Store::activity).
    pub async fn activity(&self, app: App, since: Seconds) -> Result<u64, Error> {
        self.indexes_of(app).await?;
        // An id is in one shard only.
        let counts = self.shards.all().iter().map(async |keys| {
            let mut cmd = Cmd::with_capacity(4, 64);
            cmd.arg("ZCOUNT").arg(keys.users(&app)).arg(since).arg("+inf");
            reply::count(&self.servers.read(keys, cmd).await?)
        });
        Ok(try_join_all(counts).await?.into_iter().sum())
    }

    /// See [`Store::soapp`](crate::store::Store::soapp).
    pub async fn soapp(&self, app: App, since: Seconds, now: Seconds) -> Result<Vec<Session>, Error> {
        self.indexes_of(app).await?;
        let lists = self.shards.all().iter().map(async |keys| {
            let reply = self.servers.script(keys, &self.scripts.soapp, |cmd| {
                cmd.arg(1)
                    .arg(keys.sessions(&app))
                    .arg(since)
                    .arg(keys.session_prefix(&app));
            });
            reply::records(reply.await?, &self.metrics)
        });
        let mut records: Vec<Record> = try_join_all(lists).await?.into_iter().flatten().collect();
        if self.shards.all().len() > 1 {
            records.sort_by_key(|record| Reverse(record.last_active));
        }
        let live = records.into_iter().filter_map(|record| live(Some(record), now));
        Ok(live.map(|record| record.view(now)).collect())
    }

    /// See [`Store::soid`](crate::store::Store::soid).
    pub async fn soid(&self, app: App, id: UserId, now: Seconds) -> Result<Vec<Session>, Error> {
        let (keys, pending) = (self.shards.of_id(&app, id.as_str()), &self.touches.pending);
        'again: loop {
            let marks = pending.marks();
            let reply = self.servers.script(keys, &self.scripts.soid, |cmd| {
                cmd.arg(1)
                    .arg(keys.tokens(&app, id.as_str()))
                    .arg(keys.session_prefix(&app));
            });
            let mut records = Vec::new();
            for (token, mut record) in reply::tokens_and_records(reply.await?, &self.metrics)? {
                // A token of another form is a peer's; nobody can have read it here.
                if let Ok(token) = Token::parse(&token) {
                    let key = Key { app, token };
                    if pending.look(&key, pending.mark_of(&marks, &key), &mut record).is_err() {
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
}
