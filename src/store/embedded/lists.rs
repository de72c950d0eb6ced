//! Questions about many sessions at once. They run on threads that may block, and see the disk as it was when they began.

use std::{
    cmp::Reverse,
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use super::{cache::Cache, engine::STEP};
use crate::{
    error::Error,
    session::{App, Seconds, Session, UserId},
    store::Key,
};

/// How many ids were active at or after `since`. Reads must have been flushed.
pub(super) fn activity(cache: &Cache, app: App, since: Seconds) -> Result<u64, Error> {
    // 8 bytes for an id instead of its text: of a million ids, two share a hash once in 40 million counts.
    let hasher = RandomState::new();
    let mut ids = HashSet::new();
    for entry in cache.disk.all_outlived(app)? {
        let (id, last) = entry?;
        if last >= since {
            ids.insert(hasher.hash_one(id.as_str()));
        }
    }
    for entry in cache.disk.active(app, since.saturating_sub(STEP)..=Seconds::MAX)? {
        let entry = entry?;
        let id = hasher.hash_one(entry.id.as_str());
        if entry.active >= since || (!ids.contains(&id) && active_since(cache, &entry.key, since)?) {
            ids.insert(id);
        }
    }
    Ok(ids.len() as u64)
}

fn active_since(cache: &Cache, key: &Key, since: Seconds) -> Result<bool, Error> {
    let stored = cache.peek(key)?;
    Ok(stored.is_some_and(|stored| stored.record.last_active >= since))
}

/// The sessions of one id.
pub(super) fn soid(cache: &Cache, app: App, id: &UserId, now: Seconds) -> Result<Vec<Session>, Error> {
    let tokens = cache.disk.tokens(app, id, None)?;
    let mut records = Vec::new();
    for token in tokens {
        let key = Key { app, token: token? };
        let stored = cache.peek(&key)?.filter(|stored| !stored.record.expired(now));
        records.extend(stored.map(|stored| stored.record));
    }
    records.sort_by_key(|record| Reverse(record.last_active));
    Ok(records.iter().map(|record| record.view(now)).collect())
}
