//! Changes of this process under way. What they are about is not kept meanwhile, as nobody knows on which side of the change
//! it was read; so gets ask Redis, as they would without a cache.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::{Near, lock};
use crate::{
    session::{App, Record, UserId},
    store::Key,
};

/// A set or a kill under way, for as long as it lives.
pub(in super::super) struct Change<'a> {
    near: &'a Near,
    key: Key,
}

/// A killsoid or killall under way, for as long as it lives.
pub(in super::super) struct Removal<'a> {
    near: &'a Near,
    whom: Whom,
}

/// Whose sessions are removed: those of an id, or all of an app.
#[derive(Clone, PartialEq)]
struct Whom {
    app: App,
    id: Option<UserId>,
}

impl Whom {
    fn includes(&self, key: &Key, record: &Record) -> bool {
        self.app == key.app && self.id.as_ref().is_none_or(|id| *id == record.id)
    }
}

/// Those under way.
#[derive(Default)]
pub(super) struct Removals {
    /// How many, as there are hardly ever any.
    count: AtomicUsize,
    list: Mutex<Vec<Whom>>,
}

impl Removals {
    /// Whether one of them is about this session.
    pub(super) fn concern(&self, key: &Key, record: &Record) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.lock().iter().any(|whom| whom.includes(key, record))
    }

    /// A panic under the lock leaves the list whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Vec<Whom>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Near {
    /// Begins a set or a kill.
    pub(in super::super) fn change(&self, key: Key) -> Change<'_> {
        let mut shard = self.shard(&key);
        shard.entries.remove(&key);
        shard.changing.push(key);
        Change { near: self, key }
    }

    /// Begins a removal of all sessions of an id, or of an app.
    pub(in super::super) fn remove(&self, app: App, id: Option<UserId>) -> Removal<'_> {
        let whom = Whom { app, id };
        self.removals.lock().push(whom.clone());
        self.removals.count.fetch_add(1, Ordering::AcqRel);
        // What is kept later is kept under a lock that was taken later, and looks at the list.
        for shard in &self.shards {
            lock(shard)
                .entries
                .retain(|key, entry| !whom.includes(key, &entry.record));
        }
        Removal { near: self, whom }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut shard = self.near.shard(&self.key);
        // What was asked for before may be from before the change.
        shard.drops += 1;
        if let Some(place) = shard.changing.iter().position(|key| *key == self.key) {
            shard.changing.swap_remove(place);
        }
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        for shard in &self.near.shards {
            lock(shard).drops += 1;
        }
        let mut list = self.near.removals.lock();
        if let Some(place) = list.iter().position(|whom| *whom == self.whom) {
            list.swap_remove(place);
        }
        self.near.removals.count.fetch_sub(1, Ordering::AcqRel);
    }
}
