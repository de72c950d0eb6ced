//! The tracker of one app, shared between requests, the writer and the scan that fills it.

use std::{
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::OwnedMutexGuard;

use super::{
    memory_budget::MemoryBudget,
    tracker::{OverBudget, Sighting, Tracker},
};
use crate::session::{App, Seconds};

/// A tracked app.
pub(crate) struct AppTracker {
    pub(super) app: App,
    /// 8 bytes for an id instead of its text: of a million ids, two share a hash once in 40 million trackers.
    hasher: RandomState,
    /// Held by the request that scans the index.
    scan: Arc<tokio::sync::Mutex<()>>,
    /// `None` once the tracker was given up, for good. The app may get another one later.
    state: Mutex<Option<Tracker>>,
}

impl AppTracker {
    /// An empty tracker. `None` if the budget has no place for it.
    pub(super) fn new(app: App, hasher: RandomState, budget: &Arc<MemoryBudget>) -> Option<Self> {
        Some(Self {
            app,
            hasher,
            scan: Arc::default(),
            state: Mutex::new(Some(Tracker::new(budget)?)),
        })
    }

    /// How many ids were active at `since` or later. `None` if that takes a scan.
    pub(crate) fn count(&self, since: Seconds) -> Option<u64> {
        let mut state = self.state();
        let tracker = state.as_mut()?;
        tracker.record_question(since);
        tracker.count(since)
    }

    /// The right to scan, one at a time: the scan before may have brought what this one would.
    pub(crate) async fn scan_permit(&self) -> OwnedMutexGuard<()> {
        self.scan.clone().lock_owned().await
    }

    /// Begins a scan: see [`Tracker::begin_scan`]. `None` if the tracker was given up.
    pub(super) fn begin_scan(&self, since: Seconds) -> Option<(RangeInclusive<Seconds>, bool)> {
        self.state().as_mut().map(|tracker| tracker.begin_scan(since))
    }

    /// Takes over what the scan has found so far.
    pub(super) fn record_sightings(&self, sightings: &mut Vec<Sighting>) {
        self.change(|tracker| {
            sightings
                .drain(..)
                .try_for_each(|sighting| tracker.record_sighting(&sighting))
        });
    }

    /// Ends a scan: see [`Tracker::end_scan`].
    pub(super) fn end_scan(&self, since: Seconds, complete: bool) {
        if let Some(tracker) = &mut *self.state() {
            tracker.end_scan(since, complete);
        }
    }

    /// Records that an id was active.
    pub(super) fn record(&self, id: &str, second: Seconds) {
        self.change(|tracker| tracker.record(self.hash(id), second));
    }

    /// Records that the last session of an id was removed.
    pub(super) fn remove(&self, id: &str) {
        if let Some(tracker) = &mut *self.state() {
            tracker.remove(self.hash(id));
        }
    }

    /// Ends a period, and gives the tracker up if no client has asked for two periods.
    pub(super) fn end_period(&self) {
        let mut state = self.state();
        if !state.as_mut().is_some_and(Tracker::end_period) {
            *state = None;
        }
    }

    pub(super) fn give_up(&self) {
        *self.state() = None;
    }

    /// Whether the tracker was not given up.
    pub(super) fn is_active(&self) -> bool {
        self.state().is_some()
    }

    pub(super) fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id)
    }

    /// Changes the tracker, or gives it up if that takes more than the memory budget.
    fn change(&self, change: impl FnOnce(&mut Tracker) -> Result<(), OverBudget>) {
        let mut state = self.state();
        if let Some(tracker) = &mut *state
            && change(tracker).is_err()
        {
            tracing::debug!(
                "an app has more active ids than the memory budget allows: each activity request scans the index"
            );
            *state = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, Option<Tracker>> {
        // A panic may have left the tracker half changed, so it is given up.
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            *state = None;
            state
        })
    }
}
