//! The trackers of all apps whose activity was asked for of late.

use std::{
    collections::HashMap,
    hash::RandomState,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{app_tracker::AppTracker, memory_budget::MemoryBudget};
use crate::session::{App, Seconds, UserId};

/// A tracker is given up after two periods without a question.
const PERIOD: Duration = Duration::from_mins(10);

/// The tracked apps.
pub(crate) struct Trackers {
    /// Whether any app is tracked: requests of other apps look at nothing else.
    any: AtomicBool,
    apps: RwLock<HashMap<App, Arc<AppTracker>>>,
    hasher: RandomState,
    budget: Arc<MemoryBudget>,
    period_began: Mutex<Instant>,
}

impl Trackers {
    /// No tracked app yet. All trackers together may take about `memory` bytes.
    pub(crate) fn new(memory: u64) -> Self {
        Self {
            any: AtomicBool::new(false),
            apps: RwLock::default(),
            hasher: RandomState::new(),
            budget: Arc::new(MemoryBudget::of_bytes(memory)),
            period_began: Mutex::new(Instant::now()),
        }
    }

    /// Tracks an app from now on. `None` if its tracker was given up, or the budget has no place for one.
    pub(crate) fn track(&self, app: App) -> Option<Arc<AppTracker>> {
        let tracker = self.find(app).or_else(|| self.create(app));
        tracker.filter(|tracker| tracker.is_active())
    }

    pub(super) fn find(&self, app: App) -> Option<Arc<AppTracker>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(&app).cloned()
    }

    fn create(&self, app: App) -> Option<Arc<AppTracker>> {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(tracker) = apps.get(&app) {
            return Some(tracker.clone());
        }
        let tracker = Arc::new(AppTracker::new(app, self.hasher.clone(), &self.budget)?);
        apps.insert(app, tracker.clone());
        self.any.store(true, Relaxed);
        Some(tracker)
    }

    /// Records that an id was active. Counts that are asked for afterwards include it.
    pub(crate) fn record(&self, app: App, id: &UserId, second: Seconds) {
        if let Some(tracker) = self.tracker(app) {
            tracker.record(id.as_str(), second);
        }
    }

    /// Records that the last session of an id was removed. Call it once gets no longer find that session.
    pub(crate) fn remove(&self, app: App, id: &UserId) {
        if let Some(tracker) = self.tracker(app) {
            tracker.remove(id.as_str());
        }
    }

    pub(crate) fn is_tracked(&self, app: App) -> bool {
        self.tracker(app).is_some()
    }

    fn tracker(&self, app: App) -> Option<Arc<AppTracker>> {
        // Why `Relaxed` is enough: between the creation of a tracker and its scan lies a flush, which goes to the writer
        // through a channel and takes the lock of each shard.
        if self.any.load(Relaxed) { self.find(app) } else { None }
    }

    /// Gives all trackers up, because the index may not be what they assume.
    pub(crate) fn forget_all(&self) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        for (_, tracker) in apps.drain() {
            tracker.give_up();
        }
        self.any.store(false, Relaxed);
    }

    /// Gives idle trackers up where a period is over. Call it about once a second.
    pub(crate) fn expire_idle(&self) {
        let mut began = self.period_began.lock().unwrap_or_else(PoisonError::into_inner);
        if began.elapsed() >= PERIOD {
            *began = Instant::now();
            self.end_period();
        }
    }

    pub(super) fn end_period(&self) {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let trackers = apps.values().cloned().collect::<Vec<_>>();
        drop(apps);
        for tracker in trackers {
            tracker.end_period();
        }
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.retain(|_, tracker| tracker.is_active());
        self.any.store(!apps.is_empty(), Relaxed);
    }

    #[cfg(test)]
    pub(super) fn any(&self) -> bool {
        self.any.load(Relaxed)
    }
}

impl std::fmt::Debug for Trackers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trackers(…)")
    }
}
