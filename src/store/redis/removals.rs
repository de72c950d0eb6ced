//! The operations that remove many sessions.

use super::{Redis, keys, reply};
use crate::{
    error::Error,
    session::{App, Seconds, UserId},
};

/// The most sessions that one call of a script removes: Redis serves nobody else for the millisecond or two that it takes.
const BATCH: usize = 100;

impl Redis {
    /// See [`Store::killsoid`](crate::store::Store::killsoid).
    pub async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        let _removal = self.near.as_ref().map(|near| near.remove(app, Some(id.clone())));
        let id = id.as_str();
        let keys = self.shards.of_id(&app, id);
        let (mut total, mut pace) = (0, self.turns.operation());
        loop {
            let part = pace.part().await?;
            let reply = self.servers.change(keys, &self.scripts.killsoid, |cmd| {
                cmd.arg(4)
                    .arg(keys.tokens(&app, id))
                    .arg(keys.sessions(&app))
                    .arg(keys.users(&app))
                    .arg(keys.ends());
                cmd.arg(id).arg(keys.session_prefix(&app)).arg(keys::app_prefix(&app));
                cmd.arg(keys.channel()).arg(BATCH);
            });
            let (killed, left) = reply::two_counts(&reply.await?)?;
            total += killed;
            part.rest();
            if left == 0 {
                return Ok(total);
            }
        }
    }

    /// See [`Store::killall`](crate::store::Store::killall).
    pub async fn killall(&self, app: App) -> Result<u64, Error> {
        let _removal = self.near.as_ref().map(|near| near.remove(app, None));
        let (mut total, mut pace) = (0, self.turns.operation());
        // One after the other: Redis has others to serve between two batches.
        for keys in self.shards.all() {
            loop {
                let part = pace.part().await?;
                let reply = self.servers.change(keys, &self.scripts.killall, |cmd| {
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
                part.rest();
                if left == 0 {
                    break;
                }
            }
        }
        Ok(total)
    }

    /// See [`Store::wipe`](crate::store::Store::wipe).
    pub async fn wipe(&self, now: Seconds) -> Result<u64, Error> {
        self.written(async move |touches| touches.flush(|_| true).await).await?;
        let (mut total, mut pace) = (0, self.turns.operation());
        for keys in self.shards.all() {
            loop {
                let part = pace.part().await?;
                let reply = self.servers.script(keys, &self.scripts.wipe, |cmd| {
                    cmd.arg(1).arg(keys.ends()).arg(now).arg(BATCH);
                    cmd.arg(keys.prefix())
                        .arg(keys::SESSIONS)
                        .arg(keys::USERS)
                        .arg(keys::TOKENS)
                        .arg(keys.channel());
                });
                let (wiped, seen) = reply::two_counts(&reply.await?)?;
                total += wiped;
                part.rest();
                if seen < BATCH as u64 {
                    break;
                }
            }
        }
        Ok(total)
    }
}
