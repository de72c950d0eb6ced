//! Questions about many sessions at once. They run on threads that may block, and see the disk as it was when they began.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use super::{cache::Cache, engine::STEP};
use crate::{
    error::Error,
    session::{App, Record, Seconds, Session, UserId},
    store::Key,
};

/// How many ids were active at or after `since`. Reads must have been flushed.
pub(super) fn activity(cache: &Cache, app: App, since: Seconds) -> Result<u64, Error> {
    // 8 bytes for an id instead of its text: of a million ids, two share a hash once in 40 million counts.
    let hasher = RandomState::new();
    let mut ids = HashSet::new();
    for entry in cache.disk.active_since(app, since.saturating_sub(STEP))? {
        let entry = entry?;
        let id = hasher.hash_one(&entry.id);
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

/// The sessions that were active at or after `since`. Reads must have been flushed.
pub(super) fn soapp(cache: &Cache, app: App, since: Seconds, now: Seconds) -> Result<Vec<Session>, Error> {
    let entries = cache.disk.active_since(app, since.saturating_sub(STEP))?;
    let sessions = alive(cache, entries.map(|entry| entry.map(|entry| entry.key)), now)?;
    Ok(last_active_first(
        sessions.into_iter().filter(|record| record.last_active >= since),
        now,
    ))
}

/// The sessions of one id.
pub(super) fn soid(cache: &Cache, app: App, id: &UserId, now: Seconds) -> Result<Vec<Session>, Error> {
    let tokens = cache.disk.tokens(app, id)?;
    let sessions = alive(cache, tokens.map(|token| token.map(|token| Key { app, token })), now)?;
    Ok(last_active_first(sessions.into_iter(), now))
}

fn alive(cache: &Cache, keys: impl Iterator<Item = Result<Key, Error>>, now: Seconds) -> Result<Vec<Record>, Error> {
    let records = keys.map(|key| Ok(cache.peek(&key?)?.map(|stored| stored.record)));
    records
        .filter_map(Result::transpose)
        .filter(|record| record.as_ref().map_or(true, |record| !record.expired(now)))
        .collect()
}

fn last_active_first(records: impl Iterator<Item = Record>, now: Seconds) -> Vec<Session> {
    let mut records: Vec<_> = records.collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.last_active));
    records.iter().map(|record| record.view(now)).collect()
}
