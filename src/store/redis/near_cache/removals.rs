//! Removals of this process that are in flight: of all sessions of an id, or of an app.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    session::{App, Record, UserId},
    store::Key,
};

/// The sessions that are removed: those of an id, or all of an app.
#[derive(Clone, PartialEq)]
pub(super) struct RemovedSessions {
    pub(super) app: App,
    pub(super) id: Option<UserId>,
}

impl RemovedSessions {
    pub(super) fn includes(&self, key: &Key, record: &Record) -> bool {
        self.app == key.app && self.id.as_ref().is_none_or(|id| *id == record.id)
    }
}

/// All removals in flight.
#[derive(Default)]
pub(super) struct Removals {
    /// The length of the list: nearly always 0, so that most checks need no lock.
    pub(super) count: AtomicUsize,
    list: Mutex<Vec<RemovedSessions>>,
}

impl Removals {
    /// Whether one of them concerns this session.
    pub(super) fn concern(&self, key: &Key, record: &Record) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.lock().iter().any(|removed| removed.includes(key, record))
    }

    /// A panic under the lock leaves the list whole: each change is a single step.
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<RemovedSessions>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
