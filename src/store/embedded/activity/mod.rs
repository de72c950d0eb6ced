//! The number of ids that were active of late, kept as it changes.
//!
//! An app that is asked for its activity is watched from then on: the index is read once, and what happens since is noted
//! as it happens. The order makes that exact: an app is watched before reads are flushed, and they are flushed before the
//! index is read, so that each change is noted or found there, or both. An id has the latest second of either. It goes
//! with its last session, and what is found of it afterwards is from before.
//!
//! The index may lag behind a session by a step. Only where that decides whether an id counts is the session itself asked,
//! once: see [`Known::begin`].

mod histogram;
mod memory_budget;
pub(crate) mod scan;
#[cfg(test)]
mod tests;
mod tracker;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::OwnedMutexGuard;

use self::{
    memory_budget::Room,
    tracker::{Found, Full, Known},
};
use crate::{
    session::{App, Seconds, UserId},
    store::Error,
    store::embedded::cache::Cache,
};

/// An app of which nobody asks throughout this is watched no more.
const PERIOD: Duration = Duration::from_mins(10);
/// The most memory that an id takes in a watch, in bytes: 17 in a table that is seven sixteenths full.
const ID: u64 = 40;
/// The memory that a watch takes besides, in ids.
const WATCH: usize = 64;
/// Ids that are noted under one lock, so that requests of the app wait for some microseconds at most.
const CHUNK: usize = 256;

/// The apps that are watched.
pub(crate) struct Watches {
    /// Whether there is one: all that requests of other apps look at.
    any: AtomicBool,
    apps: RwLock<HashMap<App, Arc<Watch>>>,
    /// 8 bytes for an id instead of its text: of a million ids, two share a hash once in 40 million watches.
    hasher: RandomState,
    room: Arc<Room>,
    period: Mutex<Instant>,
}

/// An app that is watched.
pub(crate) struct Watch {
    app: App,
    /// Held by the one question that reads the index.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// `None`: it is given up. That is for good; later there may be another watch.
    known: Mutex<Option<Known>>,
}

impl Watches {
    /// No app yet. Later they may take about so much memory, in bytes.
    pub(crate) fn new(memory: u64) -> Self {
        Self {
            any: AtomicBool::new(false),
            apps: RwLock::default(),
            hasher: RandomState::new(),
            room: Arc::new(Room::new(usize::try_from(memory / ID).unwrap_or(usize::MAX))),
            period: Mutex::new(Instant::now()),
        }
    }

    /// The watch of an app, from now on. `None` if it has been given up, or there is no room for it.
    pub(crate) fn watch(&self, app: App) -> Option<Arc<Watch>> {
        let watch = self.find(app).or_else(|| self.begin(app));
        watch.filter(|watch| watch.known().is_some())
    }

    fn find(&self, app: App) -> Option<Arc<Watch>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(&app).cloned()
    }

    fn begin(&self, app: App) -> Option<Arc<Watch>> {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = apps.get(&app) {
            return Some(watch.clone());
        }
        let watch = Arc::new(Watch {
            app,
            turn: Arc::default(),
            known: Mutex::new(Some(Known::new(&self.room)?)),
        });
        apps.insert(app, watch.clone());
        self.any.store(true, Relaxed);
        Some(watch)
    }

    /// An id was active. Whoever asks afterwards has to find it so.
    pub(crate) fn note(&self, app: App, id: &UserId, second: Seconds) {
        if let Some(watch) = self.watched(app) {
            watch.change(|known| known.note(self.hash(id.as_str()), second));
        }
    }

    /// The last session of an id was removed, and nobody can read it any more.
    pub(crate) fn remove(&self, app: App, id: &UserId) {
        if let Some(watch) = self.watched(app) {
            watch.change(|known| {
                known.remove(self.hash(id.as_str()));
                Ok(())
            });
        }
    }

    /// Whether an app is watched.
    pub(crate) fn watching(&self, app: App) -> bool {
        self.watched(app).is_some()
    }

    fn watched(&self, app: App) -> Option<Arc<Watch>> {
        // Nothing has to be ordered by this: between the beginning of a watch and its reading of the index lies a flush,
        // which the writer takes from a channel, and which takes the lock of each shard.
        if self.any.load(Relaxed) { self.find(app) } else { None }
    }

    /// Gives all of them up: the index may not be what they think it is.
    pub(crate) fn forget(&self) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        for (_, watch) in apps.drain() {
            *watch.known() = None;
        }
        self.any.store(false, Relaxed);
    }

    /// Gives up those that nobody asks any more. To be called often.
    pub(crate) fn tidy(&self) {
        let mut period = self.period.lock().unwrap_or_else(PoisonError::into_inner);
        if period.elapsed() >= PERIOD {
            *period = Instant::now();
            self.next_period();
        }
    }

    fn next_period(&self) {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let watches = apps.values().cloned().collect::<Vec<_>>();
        drop(apps);
        for watch in watches {
            watch.next_period();
        }
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.retain(|_, watch| watch.known().is_some());
        self.any.store(!apps.is_empty(), Relaxed);
    }

    fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id)
    }
}

impl std::fmt::Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watches(…)")
    }
}

impl Watch {
    /// How many ids were active at or after `since`, if that can be told without reading.
    pub(crate) fn count(&self, since: Seconds) -> Option<u64> {
        let mut known = self.known();
        let known = known.as_mut()?;
        known.ask(since);
        known.count(since)
    }

    /// The right to [read](Self::read). Whoever had it before may have read what this question needs.
    pub(crate) async fn turn(&self) -> OwnedMutexGuard<()> {
        self.turn.clone().lock_owned().await
    }

    /// The same as [`Self::count`], by reading what is missing for it. Reads must have been flushed.
    pub(crate) fn read(&self, cache: &Cache, since: Seconds, turn: OwnedMutexGuard<()>) -> Result<u64, Error> {
        let read = self.catch_up(cache, since);
        if let Some(known) = &mut *self.known() {
            known.end(since, read.is_ok());
        }
        // The next one need not wait for what follows.
        drop(turn);
        read?;
        match self.count(since) {
            Some(count) => Ok(count),
            None => scan::activity(cache, self.app, since),
        }
    }

    fn catch_up(&self, cache: &Cache, since: Seconds) -> Result<(), Error> {
        let Some((seconds, further)) = self.known().as_mut().map(|known| known.begin(since)) else {
            return Ok(());
        };
        let mut chunk = Vec::with_capacity(CHUNK);
        // Before the other index: what is removed between the two looks leaves its activity there.
        let entries = cache.disk.active(self.app, seconds, None)?;
        if further {
            for entry in cache.disk.all_outlived(self.app)? {
                let (id, second) = entry?;
                if second >= since {
                    let id = cache.watches.hash(id.as_str());
                    let rough = false;
                    self.find(&mut chunk, Found { id, second, rough });
                }
            }
        }
        for entry in entries {
            let entry = entry?;
            let id = cache.watches.hash(&entry.id);
            let rough = entry.active >= since;
            let second = if rough {
                Some(entry.active)
            } else {
                cache.peek(&entry.key)?.map(|stored| stored.record.last_active)
            };
            if let Some(second) = second {
                self.find(&mut chunk, Found { id, second, rough });
            }
        }
        self.flush(&mut chunk);
        Ok(())
    }

    /// Notes what was found, some time.
    fn find(&self, chunk: &mut Vec<Found>, found: Found) {
        chunk.push(found);
        if chunk.len() == CHUNK {
            self.flush(chunk);
        }
    }

    fn flush(&self, chunk: &mut Vec<Found>) {
        self.change(|known| chunk.drain(..).try_for_each(|found| known.find(&found)));
    }

    fn next_period(&self) {
        let mut known = self.known();
        if !known.as_mut().is_some_and(Known::next_period) {
            *known = None;
        }
    }

    /// Changes what is known. It is given up if there is no room for it.
    fn change(&self, change: impl FnOnce(&mut Known) -> Result<(), Full>) {
        let mut guard = self.known();
        if let Some(known) = &mut *guard
            && change(known).is_err()
        {
            tracing::debug!("an app has too many ids to count them as they come: activity reads them all");
            *guard = None;
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        // A panic may have left it half changed. So it is given up.
        self.known.lock().unwrap_or_else(|poisoned| {
            let mut known = poisoned.into_inner();
            *known = None;
            known
        })
    }
}
