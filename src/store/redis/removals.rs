//! The operations that remove many sessions.

use super::{Redis, keys, reply};
use crate::{
    error::Error,
    session::{App, Seconds, UserId},
};

/// The most sessions that one call of a script removes: Redis serves nobody else for the millisecond or two that it takes.
const BATCH: u64 = 100;

/// The most batches in a row that may remove nothing although more is left: that many meet what the indexes still hold of
/// 50,000 sessions that are gone. What they have removed from the indexes stays removed, so that the next call goes on.
const IDLE: u32 = 500;

/// Whether batches get anywhere. A server that replies nonsense must not keep a request for ever.
#[derive(Default)]
struct Progress {
    idle: u32,
}

impl Progress {
    /// Notes what a batch has removed, and whether there is another one to come.
    fn made(&mut self, removed: u64, more: bool) -> Result<(), Error> {
        self.idle = if removed > 0 || !more { 0 } else { self.idle + 1 };
        if removed > BATCH || self.idle > IDLE {
            return Err(reply::nonsense());
        }
        Ok(())
    }
}

impl Redis {
    /// See [`Store::killsoid`](crate::store::Store::killsoid).
    pub async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        let _removal = self.near.as_ref().map(|near| near.remove(app, Some(id.clone())));
        let id = id.as_str();
        let keys = self.shards.of_id(&app, id);
        let (mut total, mut pace, mut progress) = (0, self.turns.operation(), Progress::default());
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
            let [killed, left] = reply::counts(&reply.await?)?;
            progress.made(killed, left > 0)?;
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
        let (mut total, mut pace, mut progress) = (0, self.turns.operation(), Progress::default());
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
                let [killed, left, seen] = reply::counts(&reply.await?)?;
                if left > 0 && seen == 0 {
                    return Err(reply::nonsense());
                }
                progress.made(killed, left > 0)?;
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
        let Some(now) = self.time.to_wipe_by(&self.servers, now).await? else {
            return Ok(0);
        };
        self.written(async move |touches| touches.flush(|_| true).await).await?;
        let (mut total, mut pace, mut progress) = (0, self.turns.operation(), Progress::default());
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
                let [wiped, seen] = reply::counts(&reply.await?)?;
                progress.made(wiped, seen >= BATCH)?;
                total += wiped;
                part.rest();
                if seen < BATCH {
                    break;
                }
            }
        }
        Ok(total)
    }
}
