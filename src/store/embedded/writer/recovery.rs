//! What the writer does when the store cannot take changes: the engine has failed, the writer has panicked, or the data
//! folder is not where its path leads. It refuses changes until the engine has been opened again and memory agrees with it.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::batch::CommitBatch;
use crate::store::{Error, embedded::cache::Cache};

/// Between two attempts, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// After a panic, the engine must be open again within this. Unlike a full disk, what a panic leaves behind in this process
/// does not mend itself.
const AFTER_PANIC: Duration = Duration::from_mins(1);

/// How it stands with the engine.
#[derive(Default)]
pub(crate) struct Recovery {
    /// When to try to open it again. `None`: it takes changes.
    next: Option<Instant>,
    /// Why the last attempt failed, so that a log says it once.
    why: String,
    /// When to give up.
    end: Option<Instant>,
}

impl Recovery {
    /// For a writer that starts again after a panic at `now`: the engine may hold half of a group, so it is opened again at
    /// once.
    pub(crate) fn after_panic(cache: &Cache, now: Instant) -> Self {
        cache.trackers.forget_all();
        Self {
            next: Some(now),
            why: String::new(),
            end: Some(now + AFTER_PANIC),
        }
    }

    /// The engine has failed. What the watches of activity know may be ahead of it, or behind.
    pub(crate) fn begin(&mut self, cache: &Cache) {
        if self.next.is_some() {
            return;
        }
        if let Err(why) = cache.disk.look() {
            error!(
                why,
                "the data folder is not in its place any more, or not whole: every request is answered with 503 until it \
                 is put back, or the service is started again"
            );
            cache.disk.lose();
        } else {
            warn!("the embedded store takes no changes for now");
        }
        self.next = Some(Instant::now() + PAUSE);
        cache.trackers.forget_all();
    }

    /// Notices an engine that has failed by itself and a folder that is gone, and opens the engine again when it is time to.
    /// False if that has to be given up, and only another process can help.
    pub(crate) fn look(&mut self, cache: &Cache) -> bool {
        match self.next {
            None if !alive(cache) || cache.disk.look().is_err() => self.begin(cache),
            Some(when) if Instant::now() >= when => self.reopen(cache),
            _ => {}
        }
        self.end.is_none_or(|end| Instant::now() < end)
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
                if why != self.why {
                    warn!(why, "the embedded store cannot be opened again yet");
                }
                self.why = why;
                // Half of the time at most is spent on what may be in vain.
                self.next = Some(Instant::now() + start.elapsed().max(PAUSE));
            }
        }
    }

    /// A group of changes, once the engine will not make its commit wait. Fails if it takes none.
    pub(crate) fn group<'a>(&mut self, cache: &'a Cache) -> Result<CommitBatch<'a>, Error> {
        while self.next.is_none() && cache.disk.engine()?.behind() {
            if !alive(cache) {
                self.begin(cache);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match self.next {
            None => CommitBatch::new(cache),
            Some(_) => Err(Error::Unavailable),
        }
    }
}

fn alive(cache: &Cache) -> bool {
    cache.disk.engine().is_ok_and(|engine| engine.alive())
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use tempfile::TempDir;

    use super::*;
    use crate::{
        observability::metrics::Metrics,
        store::embedded::{
            activity::Trackers,
            engine::{DataDir, EngineHandle},
        },
    };

    fn cache() -> (Cache, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let claimed = DataDir::claim(&folder.path().join("data")).unwrap();
        let disk = EngineHandle::open(claimed, 1 << 20, Arc::new(Metrics::new())).unwrap();
        (Cache::new(Arc::new(disk), 1 << 20, Trackers::new(1 << 20)), folder)
    }

    #[test]
    fn a_panic_that_cannot_be_recovered_from_is_given_up_in_time() {
        let (cache, folder) = cache();
        fs::rename(folder.path().join("data"), folder.path().join("away")).unwrap();
        let now = Instant::now();
        assert!(Recovery::after_panic(&cache, now).look(&cache));
        let long_ago = now.checked_sub(AFTER_PANIC).unwrap();
        assert!(!Recovery::after_panic(&cache, long_ago).look(&cache));
        // In time or not, what works counts.
        fs::rename(folder.path().join("away"), folder.path().join("data")).unwrap();
        let mut recovery = Recovery::after_panic(&cache, long_ago);
        assert!(recovery.look(&cache));
        assert!(recovery.group(&cache).is_ok_and(|group| group.commit().is_ok()));
    }

    #[test]
    fn a_folder_that_is_gone_is_waited_for_without_end() {
        let (cache, folder) = cache();
        let mut recovery = Recovery::default();
        fs::rename(folder.path().join("data"), folder.path().join("away")).unwrap();
        assert!(recovery.look(&cache));
        assert!(cache.disk.gone() && recovery.group(&cache).is_err());
        assert!(recovery.end.is_none());
    }
}
