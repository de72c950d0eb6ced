//! Recovery: what the writer does while the store takes no changes, because the engine has failed, the writer has
//! panicked, or the data folder is not where its path leads. It refuses changes until the engine is open again and
//! memory agrees with the disk.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::batch::CommitBatch;
use crate::store::{Error, embedded::cache::Cache};

/// Shortest pause between two attempts to open the engine.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Time limit for opening the engine after a panic. Why: space on a disk can be freed; what a panic leaves behind in
/// this process stays until the process ends.
const PANIC_LIMIT: Duration = Duration::from_mins(1);

/// The state of the engine, as the writer knows it.
#[derive(Default)]
pub(super) struct Recovery {
    /// When to try to open the engine again. `None`: it takes changes.
    next_attempt: Option<Instant>,
    /// Why the last attempt failed. The log says it once.
    last_failure: String,
    /// When to give up.
    give_up_at: Option<Instant>,
}

impl Recovery {
    /// After a panic of the writer at `now`: the engine may hold half of a batch, so it is opened again at once.
    pub(super) fn after_panic(cache: &Cache, now: Instant) -> Self {
        cache.trackers.forget_all();
        Self {
            next_attempt: Some(now),
            last_failure: String::new(),
            give_up_at: Some(now + PANIC_LIMIT),
        }
    }

    /// Begins after a failed commit. The activity trackers may be ahead of the disk or behind it, so they start anew.
    pub(super) fn begin(&mut self, cache: &Cache) {
        if self.next_attempt.is_some() {
            return;
        }
        if let Err(why) = cache.disk.check_presence() {
            error!(
                why,
                "the data folder has been moved, replaced or damaged: every request gets a 503 until it is put back or \
                 the service is restarted"
            );
            cache.disk.lose();
        } else {
            warn!("the embedded store takes no changes until its engine is open again");
        }
        self.next_attempt = Some(Instant::now() + RETRY_PAUSE);
        cache.trackers.forget_all();
    }

    /// Notices an engine that has failed on its own and a folder that is gone, and opens the engine again once it is
    /// time. False if only a new process can help.
    pub(super) fn poll(&mut self, cache: &Cache) -> bool {
        match self.next_attempt {
            None if !alive(cache) || cache.disk.check_presence().is_err() => self.begin(cache),
            Some(when) if Instant::now() >= when => self.reopen(cache),
            _ => {}
        }
        self.give_up_at.is_none_or(|limit| Instant::now() < limit)
    }

    fn reopen(&mut self, cache: &Cache) {
        let start = Instant::now();
        let outcome = cache.disk.reopen();
        match outcome.and_then(|()| cache.agree().map_err(|_| "it cannot be read".into())) {
            Ok(()) => {
                info!("the embedded store takes changes again");
                *self = Self::default();
            }
            Err(why) => {
                if why != self.last_failure {
                    warn!(why, "the embedded store cannot be opened again yet");
                }
                self.last_failure = why;
                // At most half of the time goes into attempts.
                self.next_attempt = Some(Instant::now() + start.elapsed().max(RETRY_PAUSE));
            }
        }
    }

    /// An empty batch, as soon as the engine would not stall its commit. Fails while the store takes no changes.
    pub(super) fn batch<'a>(&mut self, cache: &'a Cache) -> Result<CommitBatch<'a>, Error> {
        while self.next_attempt.is_none() && cache.disk.engine()?.behind() {
            if !alive(cache) {
                self.begin(cache);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match self.next_attempt {
            None => CommitBatch::new(cache),
            Some(_) => Err(Error::Unavailable),
        }
    }
}

fn alive(cache: &Cache) -> bool {
    cache.disk.engine().is_ok_and(|engine| engine.alive())
}
