//! What the writer does about an engine that takes no more changes: it refuses them, and opens the engine again once the
//! disk lets it.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{cache::Cache, group::Group};
use crate::error::Error;

/// Between two attempts, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// How it stands with the engine.
#[derive(Default)]
pub(super) struct Recovery {
    /// When to try to open it again. `None`: it takes changes.
    next: Option<Instant>,
    /// Why the last attempt failed, so that a log says it once.
    why: String,
}

impl Recovery {
    /// The engine has failed. What the watches of activity know may be ahead of it, or behind.
    pub(super) fn begin(&mut self, cache: &Cache) {
        if self.next.is_none() {
            warn!("the embedded store takes no changes for now");
            self.next = Some(Instant::now() + PAUSE);
            cache.watches.forget();
        }
    }

    /// Takes note of an engine that has failed by itself, and opens it again when it is time to.
    pub(super) fn look(&mut self, cache: &Cache) {
        match self.next {
            None if !alive(cache) => self.begin(cache),
            Some(when) if Instant::now() >= when => self.reopen(cache),
            _ => {}
        }
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
    pub(super) fn group<'a>(&mut self, cache: &'a Cache) -> Result<Group<'a>, Error> {
        while self.next.is_none() && cache.disk.engine()?.behind() {
            if !alive(cache) {
                self.begin(cache);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match self.next {
            None => Group::new(cache),
            Some(_) => Err(Error::StoreUnavailable),
        }
    }
}

fn alive(cache: &Cache) -> bool {
    cache.disk.engine().is_ok_and(|engine| engine.alive())
}
