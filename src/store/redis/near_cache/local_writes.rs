//! Keeps sessions that this process is changing out of the near cache. Why: a read that overlaps a change may have
//! seen the session before or after it. Gets of these sessions ask Redis meanwhile.

use std::sync::atomic::Ordering;

use crate::{
    session::{App, UserId},
    store::{
        Key,
        redis::near_cache::{
            cache::{NearCache, lock},
            removals::RemovedSessions,
        },
    },
};

/// A set or a kill in flight. While it lives, its session is not cached.
pub(crate) struct Change<'a> {
    cache: &'a NearCache,
    key: Key,
}

/// A killsoid or killall in flight. While it lives, its sessions are not cached.
pub(crate) struct Removal<'a> {
    cache: &'a NearCache,
    removed: RemovedSessions,
}

impl NearCache {
    /// Begins a set or a kill.
    pub(crate) fn begin_change(&self, key: Key) -> Change<'_> {
        let mut stripe = self.stripe(&key);
        stripe.entries.remove(&key);
        stripe.changing.push(key);
        Change { cache: self, key }
    }

    /// Begins a removal of all sessions of an id, or of an app.
    pub(crate) fn begin_removal(&self, app: App, id: Option<UserId>) -> Removal<'_> {
        let removed = RemovedSessions { app, id };
        self.removals.lock().push(removed.clone());
        self.removals.count.fetch_add(1, Ordering::AcqRel);
        // An entry that is added later is added under a lock that is taken later, after a look at the list.
        for stripe in &self.stripes {
            lock(stripe)
                .entries
                .retain(|key, entry| !removed.includes(key, &entry.record));
        }
        Removal { cache: self, removed }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut stripe = self.cache.stripe(&self.key);
        // Reads that began earlier may have seen the session before the change.
        stripe.drops += 1;
        if let Some(place) = stripe.changing.iter().position(|key| *key == self.key) {
            stripe.changing.swap_remove(place);
        }
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        for stripe in &self.cache.stripes {
            lock(stripe).drops += 1;
        }
        let mut list = self.cache.removals.lock();
        if let Some(place) = list.iter().position(|removed| *removed == self.removed) {
            list.swap_remove(place);
        }
        self.cache.removals.count.fetch_sub(1, Ordering::AcqRel);
    }
}
