//! The operations that remove many sessions: killsoid, killall and wipe.
//!
//! Each runs a script that removes a batch, until nothing is left.

use crate::{
    session::{App, Seconds, UserId},
    store::{
        Error,
        redis::{decode, layout, store::Redis},
    },
};

/// The most sessions that one script removes: it blocks Redis for a millisecond or two.
const BATCH: u64 = 100;

/// The most batches in a row that leave as many sessions as before. A service does not create the million sessions that
/// would replace those of so many full batches. If the limit is reached, the batches stay removed, and the next call
/// continues.
const STALLED_BATCHES: u32 = 10_000;

/// Whether the batches of one shard make progress. Why: a server that replies nonsense must not keep a request for
/// ever.
struct BatchProgress {
    /// The fewest sessions that a batch left.
    fewest_left: u64,
    /// Batches since then.
    stalled: u32,
}

impl BatchProgress {
    fn new() -> Self {
        Self {
            fewest_left: u64::MAX,
            stalled: 0,
        }
    }

    /// Records a batch that looked at `seen` entries, removed `removed` sessions and left `left`. Fails if no script
    /// returns such counts, or if the batches stall.
    fn add(&mut self, removed: u64, seen: u64, left: u64) -> Result<(), Error> {
        self.stalled = if left < self.fewest_left { 0 } else { self.stalled + 1 };
        self.fewest_left = self.fewest_left.min(left);
        // A script that leaves anything has looked at a full batch. killall counts the name of an id as one entry more.
        let full = seen == BATCH || seen == BATCH + 1;
        let sound = removed <= seen && (full || left == 0 && seen < BATCH);
        if sound && self.stalled <= STALLED_BATCHES {
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
        let (mut total, mut pace, mut progress) = (0, self.throttle.operation(), BatchProgress::new());
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
            progress.add(killed, seen, left)?;
            total += killed;
            part.release();
            if left == 0 {
                return Ok(total);
            }
        }
    }

    /// See [`Store::killall`](crate::store::Store::killall).
    pub async fn killall(&self, app: App) -> Result<u64, Error> {
        let _removal = self.near_cache.as_ref().map(|near| near.begin_removal(app, None));
        let (mut total, mut pace) = (0, self.throttle.operation());
        // Sequentially, so that Redis serves other requests between batches.
        for keys in self.shards.all() {
            let mut progress = BatchProgress::new();
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
                progress.add(killed, seen, left)?;
                total += killed;
                part.release();
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
            let mut progress = BatchProgress::new();
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
                progress.add(wiped, seen, left)?;
                total += wiped;
                part.release();
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

    /// How many batches pass until one is refused; `batch` maps its number to the counts removed, seen and left.
    fn batches_until_refused(batch: impl Fn(u64) -> (u64, u64, u64)) -> Option<u64> {
        let mut progress = BatchProgress::new();
        (0..1_000_000).find(|number| {
            let (removed, seen, left) = batch(*number);
            progress.add(removed, seen, left).is_err()
        })
    }

    #[test]
    fn batches_without_progress_end() {
        // Sessions are left, but the batch was not full; more removed than looked at; more looked at than a batch.
        for batch in [(1, 1, 1), (0, 0, 5), (1, 99, 1), (101, 100, 5), (6, 5, 0), (0, 102, 0)] {
            assert_eq!(batches_until_refused(|_| batch), Some(0), "{batch:?}");
        }
        for removed in [0, 1, 100] {
            let ended = batches_until_refused(|_| (removed, 100, 1)).expect("it ends");
            assert!(ended >= 10_000, "{ended}");
        }
    }

    #[test]
    fn batches_continue_while_sessions_are_created() {
        // Of 100 removed sessions, 99 are created again; now and then a thousand more.
        let churn = |number: u64| 2_000_000 - number + 1000 * (number % 3000) / 3000;
        assert_eq!(batches_until_refused(|number| (100, 100, churn(number))), None);
        // Index entries without sessions.
        assert_eq!(batches_until_refused(|number| (0, 101, 2_000_000 - number)), None);
    }
}
