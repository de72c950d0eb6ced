//! Counts the active ids of an app that is not watched. It runs on threads that may block, and sees the disk as it was when it
//! began.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use crate::{
    session::{App, Seconds},
    store::Error,
    store::embedded::{cache::Cache, engine::STEP},
    store::{Key, throttle::Yielder},
};

/// How many ids were active at or after `since`. Reads must have been flushed.
pub(crate) fn activity(cache: &Cache, app: App, since: Seconds) -> Result<u64, Error> {
    // 8 bytes for an id instead of its text: of a million ids, two share a hash once in 40 million counts.
    let hasher = RandomState::new();
    let (mut ids, mut yielder) = (HashSet::new(), Yielder::new());
    // Before the other index: what is removed between the two looks leaves its activity there.
    let entries = cache
        .disk
        .active(app, since.saturating_sub(STEP)..=Seconds::MAX, None)?;
    for entry in cache.disk.all_outlived(app)? {
        let (id, last) = entry?;
        if last >= since {
            ids.insert(hasher.hash_one(id.as_str()));
        }
        yielder.step();
    }
    for entry in entries {
        let entry = entry?;
        let id = hasher.hash_one(entry.id.as_str());
        if entry.active >= since || (!ids.contains(&id) && active_since(cache, &entry.key, since)?) {
            ids.insert(id);
        }
        yielder.step();
    }
    Ok(ids.len() as u64)
}

fn active_since(cache: &Cache, key: &Key, since: Seconds) -> Result<bool, Error> {
    let stored = cache.peek(key)?;
    Ok(stored.is_some_and(|stored| stored.record.last_active >= since))
}
