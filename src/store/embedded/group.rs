//! One group of changes: made one after the other, committed at once.
//!
//! The writer is the only one that changes the disk, and works on one change at a time, so each is atomic. A change sees
//! those before it in the group, though nothing of the group shows outside before it is safely on disk.

use std::collections::HashMap;

use super::{
    cache::{Cache, Flushed},
    engine::Batch,
    rows::Stored,
};
use crate::{
    error::Error,
    session::{App, Changes, Record, Seconds, Session, Token, UserId},
    store::Key,
};

/// A group that is being filled.
pub(super) struct Group<'a> {
    cache: &'a Cache,
    batch: Batch,
    /// The sessions as this group leaves them; `None` where it removed one.
    changed: HashMap<Key, Option<Stored>>,
    /// The sessions that this group created, which the `users` index does not show yet.
    created: HashMap<(App, UserId), Vec<Token>>,
    flushed: Vec<Flushed>,
    /// Bytes of data in the batch, roughly.
    bytes: usize,
}

impl<'a> Group<'a> {
    /// Fails if the engine is not open.
    pub(super) fn new(cache: &'a Cache) -> Result<Self, Error> {
        Ok(Self {
            cache,
            batch: cache.disk.batch()?,
            changed: HashMap::new(),
            created: HashMap::new(),
            flushed: Vec::new(),
            bytes: 0,
        })
    }

    /// Whether no more should be added: a commit of less than a memtable, see [`super::engine::Engine::behind`].
    pub(super) fn full(&self) -> bool {
        self.bytes > 4 * 1024 * 1024
    }

    fn weigh(&mut self, record: &Record) {
        self.bytes += record.data.as_ref().map_or(0, |data| data.as_str().len());
    }

    /// Makes everything durable, then visible.
    pub(super) fn commit(self) -> Result<(), Error> {
        self.batch.commit()?;
        for (key, stored) in self.changed {
            self.cache.apply(key, stored);
        }
        for flushed in self.flushed {
            self.cache.settle(flushed);
        }
        Ok(())
    }

    /// A write that changes nothing.
    pub(super) fn mark(&mut self) {
        self.batch.mark();
    }

    pub(super) fn create(&mut self, key: Key, record: Record) {
        let stored = Stored {
            active: record.last_active,
            record,
        };
        self.weigh(&stored.record);
        self.batch.insert(&key, &stored);
        let user = (key.app, stored.record.id.clone());
        self.created.entry(user).or_default().push(key.token);
        self.changed.insert(key, Some(stored));
    }

    pub(super) fn set(&mut self, key: Key, changes: Changes, now: Seconds) -> Result<Option<Session>, Error> {
        let Some(mut stored) = self.current(&key)?.filter(|stored| !stored.record.expired(now)) else {
            return Ok(None);
        };
        stored.record.data = changes.apply(stored.record.data.as_ref())?;
        stored.record.writes += 1;
        let session = stored.record.view(now);
        stored.record.touch(now);
        self.weigh(&stored.record);
        self.batch.update(&key, &mut stored);
        self.changed.insert(key, Some(stored));
        Ok(Some(session))
    }

    pub(super) fn kill(&mut self, key: Key, now: Seconds) -> Result<bool, Error> {
        let Some(stored) = self.current(&key)? else {
            return Ok(false);
        };
        self.remove(key, &stored)?;
        Ok(!stored.record.expired(now))
    }

    pub(super) fn killsoid(&mut self, app: App, id: &UserId) -> Result<u64, Error> {
        let mut killed = 0;
        for token in self.tokens(app, id)? {
            let key = Key { app, token };
            if let Some(stored) = self.current(&key)? {
                self.forget(key, &stored);
                killed += 1;
            }
        }
        Ok(killed)
    }

    /// Removes those of `keys` that are still there and, if a second is given, have expired by then.
    pub(super) fn remove_all(&mut self, keys: Vec<Key>, expired_at: Option<Seconds>) -> Result<u64, Error> {
        let mut removed = 0;
        for key in keys {
            let Some(stored) = self.current(&key)? else {
                continue;
            };
            if expired_at.is_none_or(|now| stored.record.expired(now)) {
                self.remove(key, &stored)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Writes the reads that a session has seen, unless this group has written it already.
    pub(super) fn flush(&mut self, key: Key) {
        if self.changed.contains_key(&key) {
            return;
        }
        if let Some(mut stored) = self.cache.dirty_copy(&key) {
            self.weigh(&stored.record);
            self.batch.update(&key, &mut stored);
            self.flushed.push(Flushed { key, stored });
        }
    }

    fn current(&self, key: &Key) -> Result<Option<Stored>, Error> {
        match self.changed.get(key) {
            Some(stored) => Ok(stored.clone()),
            None => self.cache.peek(key),
        }
    }

    /// The tokens of an id whose sessions this group has not removed.
    fn tokens(&self, app: App, id: &UserId) -> Result<Vec<Token>, Error> {
        let created = self.created.get(&(app, id.clone()));
        let created = created.into_iter().flatten().copied().map(Ok);
        let removed = |token: Token| matches!(self.changed.get(&Key { app, token }), Some(None));
        self.cache
            .disk
            .tokens(app, id)?
            .chain(created)
            .filter(|token| token.as_ref().is_ok_and(|token| !removed(*token)) || token.is_err())
            .collect()
    }

    /// Removes a session; its activity passes to another one of the same id, as `activity` counts ids.
    fn remove(&mut self, key: Key, stored: &Stored) -> Result<(), Error> {
        self.forget(key, stored);
        let app = key.app;
        let Some(token) = self.tokens(app, &stored.record.id)?.pop() else {
            return Ok(());
        };
        let heir = Key { app, token };
        let last = stored.active.max(stored.record.last_active);
        if let Some(mut other) = self.current(&heir)?
            && other.active.max(other.record.last_active) < last
        {
            self.batch.reindex(&heir, &mut other, last);
            self.changed.insert(heir, Some(other));
        }
        Ok(())
    }

    fn forget(&mut self, key: Key, stored: &Stored) {
        self.batch.remove(&key, stored);
        self.changed.insert(key, None);
    }
}
