//! Changes of this process under way. What they are about is not kept meanwhile, as nobody knows on which side of the change
//! it was read; so gets ask Redis, as they would without a cache.

use std::sync::atomic::Ordering;

use crate::{
    session::{App, UserId},
    store::{
        Key,
        redis::near_cache::{
            cache::{NearCache, lock},
            removals::Whom,
        },
    },
};

/// A set or a kill under way, for as long as it lives.
pub(crate) struct Change<'a> {
    cache: &'a NearCache,
    key: Key,
}

/// A killsoid or killall under way, for as long as it lives.
pub(crate) struct Removal<'a> {
    cache: &'a NearCache,
    whom: Whom,
}

impl NearCache {
    /// Begins a set or a kill.
    pub(crate) fn begin_change(&self, key: Key) -> Change<'_> {
        let mut shard = self.shard(&key);
        shard.entries.remove(&key);
        shard.changing.push(key);
        Change { cache: self, key }
    }

    /// Begins a removal of all sessions of an id, or of an app.
    pub(crate) fn begin_removal(&self, app: App, id: Option<UserId>) -> Removal<'_> {
        let whom = Whom { app, id };
        self.removals.lock().push(whom.clone());
        self.removals.count.fetch_add(1, Ordering::AcqRel);
        // What is kept later is kept under a lock that was taken later, and looks at the list.
        for shard in &self.shards {
            lock(shard)
                .entries
                .retain(|key, entry| !whom.includes(key, &entry.record));
        }
        Removal { cache: self, whom }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut shard = self.cache.shard(&self.key);
        // What was asked for before may be from before the change.
        shard.drops += 1;
        if let Some(place) = shard.changing.iter().position(|key| *key == self.key) {
            shard.changing.swap_remove(place);
        }
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        for shard in &self.cache.shards {
            lock(shard).drops += 1;
        }
        let mut list = self.cache.removals.lock();
        if let Some(place) = list.iter().position(|whom| *whom == self.whom) {
            list.swap_remove(place);
        }
        self.cache.removals.count.fetch_sub(1, Ordering::AcqRel);
    }
}
