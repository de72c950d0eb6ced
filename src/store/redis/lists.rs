//! The operations that count and list sessions.

use std::{cmp::Reverse, collections::HashMap};

use deadpool_redis::redis::Cmd;
use futures_util::future::try_join_all;

use super::{Redis, listing::LIST, reply};
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
            let reply = self.servers.read(keys, &cmd).await?;
            // An index of another type has nobody in it.
            reply.map_or(Ok(0), |reply| reply::number_of(&reply))
        });
        Ok(try_join_all(counts).await?.into_iter().sum())
    }

    /// See [`Store::soid`](crate::store::Store::soid).
    pub async fn soid(&self, app: App, id: UserId, now: Seconds) -> Result<Vec<Session>, Error> {
        // By token: of many sessions, one may be read twice.
        let mut found = HashMap::new();
        let (mut place, mut turns) = ("0".to_owned(), self.turns.operation());
        loop {
            let turn = turns.part().await?;
            let (next, part) = self.part_of_soid(app, &id, &place).await?;
            turn.rest();
            found.extend(part);
            if next == "0" {
                break;
            }
            place = next;
        }
        let mut records: Vec<Record> = found.into_values().filter(|record| !record.expired(now)).collect();
        records.sort_by_key(|record| Reverse(record.last_active));
        Ok(records.iter().map(|record| record.view(now)).collect())
    }

    /// Some sessions of an id by their tokens, and the place where the others are.
    async fn part_of_soid(&self, app: App, id: &UserId, place: &str) -> Result<(String, Vec<(String, Record)>), Error> {
        let (keys, pending) = (self.shards.of_id(&app, id.as_str()), &self.touches.pending);
        'again: loop {
            let marks = pending.marks();
            let reply = self.servers.script(keys, &self.scripts.soid, |cmd| {
                cmd.arg(1)
                    .arg(keys.tokens(&app, id.as_str()))
                    .arg(keys.session_prefix(&app));
                cmd.arg(place).arg(LIST);
            });
            let (next, mut part) = reply::tokens_and_records(reply.await?, &self.metrics)?;
            for (token, record) in &mut part {
                // A token of another form is a peer's; nobody can have read it here.
                if let Ok(token) = Token::parse(token) {
                    let key = Key { app, token };
                    if pending.look(&key, pending.mark_of(&marks, &key), record).is_err() {
                        pending.settled(&key).await;
                        continue 'again;
                    }
                }
            }
            return Ok((next, part));
        }
    }

    /// Brings the indexes of one app up to date.
    pub(super) async fn indexes_of(&self, app: App) -> Result<(), Error> {
        self.written(async move |touches| touches.flush(|key| key.app == app).await)
            .await
    }
}
