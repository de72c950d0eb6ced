//! The operations that remove many sessions.

use crate::{
    session::{App, Seconds, UserId},
    store::{
        Error,
        redis::{decode, layout, store::Redis},
    },
};

/// The most sessions that one call of a script removes: Redis serves nobody else for the millisecond or two that it takes.
const BATCH: u64 = 100;

/// The most batches in a row after which as much is left as before. A million of sessions that came meanwhile are as many as
/// no service makes. What the batches have removed stays removed, so that the next call goes on.
const IDLE: u32 = 10_000;

/// Whether the batches of one shard get anywhere. A server that replies nonsense must not keep a request for ever.
struct Progress {
    /// The least that a batch has left.
    least: u64,
    idle: u32,
}

impl Progress {
    fn new() -> Self {
        Self {
            least: u64::MAX,
            idle: 0,
        }
    }

    /// Notes how many sessions a batch has removed, of how many entries that it has looked at, and how many are left.
    fn made(&mut self, removed: u64, seen: u64, left: u64) -> Result<(), Error> {
        self.idle = if left < self.least { 0 } else { self.idle + 1 };
        self.least = self.least.min(left);
        // Every script looks at as much as it may before it leaves anything. The name of an id is an entry as well.
        let full = seen == BATCH || seen == BATCH + 1;
        let sound = removed <= seen && (full || left == 0 && seen < BATCH);
        if sound && self.idle <= IDLE {
            Ok(())
        } else {
            Err(decode::nonsense::nonsense())
        }
    }
}

impl Redis {
    /// See [`Store::killsoid`](crate::store::Store::killsoid).
    pub async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        let _removal = self
            .near_cache
            .as_ref()
            .map(|near| near.begin_removal(app, Some(id.clone())));
        let id = id.as_str();
        let keys = self.shards.of_id(&app, id);
        let (mut total, mut pace, mut progress) = (0, self.throttle.operation(), Progress::new());
        loop {
            let part = pace.part().await?;
            let reply = self.topology.change(keys, &self.scripts.killsoid, |cmd| {
                cmd.arg(4)
                    .arg(keys.tokens(&app, id))
                    .arg(keys.sessions(&app))
                    .arg(keys.users(&app))
                    .arg(keys.ends());
                cmd.arg(id).arg(keys.session_prefix(&app)).arg(layout::app_prefix(&app));
                cmd.arg(keys.channel()).arg(BATCH);
            });
            let [killed, left, seen] = decode::counts::counts(&reply.await?)?;
            progress.made(killed, seen, left)?;
            total += killed;
            part.rest();
            if left == 0 {
                return Ok(total);
            }
        }
    }

    /// See [`Store::killall`](crate::store::Store::killall).
    pub async fn killall(&self, app: App) -> Result<u64, Error> {
        let _removal = self.near_cache.as_ref().map(|near| near.begin_removal(app, None));
        let (mut total, mut pace) = (0, self.throttle.operation());
        // One after the other: Redis has others to serve between two batches.
        for keys in self.shards.all() {
            let mut progress = Progress::new();
            loop {
                let part = pace.part().await?;
                let reply = self.topology.change(keys, &self.scripts.killall, |cmd| {
                    cmd.arg(3)
                        .arg(keys.sessions(&app))
                        .arg(keys.users(&app))
                        .arg(keys.ends());
                    cmd.arg(keys.session_prefix(&app))
                        .arg(keys.tokens_prefix(&app))
                        .arg(layout::app_prefix(&app));
                    cmd.arg(keys.channel()).arg(BATCH);
                });
                let [killed, left, seen] = decode::counts::counts(&reply.await?)?;
                progress.made(killed, seen, left)?;
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
        let Some(now) = self.clock_sync.to_wipe_by(&self.topology, now).await? else {
            return Ok(0);
        };
        self.flush_detached(async move |flusher| flusher.flush(|_| true).await)
            .await?;
        let (mut total, mut pace) = (0, self.throttle.operation());
        for keys in self.shards.all() {
            let mut progress = Progress::new();
            loop {
                let part = pace.part().await?;
                let reply = self.topology.script(keys, &self.scripts.wipe, |cmd| {
                    cmd.arg(1).arg(keys.ends()).arg(now).arg(BATCH);
                    cmd.arg(keys.prefix())
                        .arg(layout::SESSIONS)
                        .arg(layout::USERS)
                        .arg(layout::TOKENS)
                        .arg(keys.channel());
                });
                let [wiped, left, seen] = decode::counts::counts(&reply.await?)?;
                progress.made(wiped, seen, left)?;
                total += wiped;
                part.rest();
                if left == 0 {
                    break;
                }
            }
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many batches may be like `batch`, which is told its number and says what was removed, seen and left.
    fn batches(batch: impl Fn(u64) -> (u64, u64, u64)) -> Option<u64> {
        let mut progress = Progress::new();
        (0..1_000_000).find(|number| {
            let (removed, seen, left) = batch(*number);
            progress.made(removed, seen, left).is_err()
        })
    }

    #[test]
    fn batches_that_get_nowhere_end() {
        // More is left, but the batch was not full; more was removed than looked at; too much was looked at.
        for batch in [(1, 1, 1), (0, 0, 5), (1, 99, 1), (101, 100, 5), (6, 5, 0), (0, 102, 0)] {
            assert_eq!(batches(|_| batch), Some(0), "{batch:?}");
        }
        for removed in [0, 1, 100] {
            let ended = batches(|_| (removed, 100, 1)).expect("it ends");
            assert!(ended >= 10_000, "{ended}");
        }
    }

    #[test]
    fn batches_of_millions_get_on_while_others_come() {
        // Of 100 that go, 99 come again at once; now and then a thousand more come.
        let churn = |number: u64| 2_000_000 - number + 1000 * (number % 3000) / 3000;
        assert_eq!(batches(|number| (100, 100, churn(number))), None);
        // What is left of sessions that are gone.
        assert_eq!(batches(|number| (0, 101, 2_000_000 - number)), None);
    }
}
