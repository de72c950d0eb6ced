//! One group of changes: made one after the other, committed at once.
//!
//! The writer is the only one that changes the disk, and works on one change at a time, so each is atomic. A change sees
//! those before it in the group, though nothing of the group shows outside before it is safely on disk.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    cache::{Cache, Flushed},
    engine::Batch,
    rows::Stored,
};
use crate::{
    session::{App, Changes, Record, Seconds, Session, Token, UserId},
    store::Error,
    store::{Key, throttle::Yielder},
};

/// A group that is being filled.
pub(super) struct Group<'a> {
    cache: &'a Cache,
    batch: Batch,
    /// The sessions as this group leaves them; `None` where it removed one.
    changed: HashMap<Key, Option<Stored>, RandomState>,
    /// The sessions that this group created, which the `users` index does not show yet.
    created: Vec<(Key, UserId)>,
    /// Activity that outlives its session, by id, as this group leaves it.
    outlived: HashMap<(App, UserId), Option<Seconds>>,
    /// Ids whose last session this group removed. It may have created others since.
    gone: Vec<(App, UserId)>,
    flushed: Vec<Flushed>,
    /// Bytes of data in the batch, roughly.
    bytes: usize,
    yielder: Yielder,
    #[cfg(test)]
    pub(super) after_commit: Option<Box<dyn FnOnce() + Send>>,
}

impl<'a> Group<'a> {
    /// Fails if the engine is not open.
    pub(super) fn new(cache: &'a Cache) -> Result<Self, Error> {
        Ok(Self {
            cache,
            batch: cache.disk.batch()?,
            changed: HashMap::default(),
            created: Vec::new(),
            outlived: HashMap::new(),
            gone: Vec::new(),
            flushed: Vec::new(),
            bytes: 0,
            yielder: Yielder::new(),
            #[cfg(test)]
            after_commit: None,
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
        self.cache.disk.in_place()?;
        #[cfg(test)]
        if let Some(happens) = self.after_commit {
            happens();
        }
        let Cache { watches, .. } = self.cache;
        for (key, _) in self.changed.iter().filter(|(_, stored)| stored.is_none()) {
            self.cache.apply(*key, None);
        }
        // Nobody can read their sessions any more, nor those yet that the group created afterwards.
        for (app, id) in &self.gone {
            watches.remove(*app, id);
        }
        for (key, stored) in self.changed {
            if let Some(stored) = stored {
                watches.note(key.app, &stored.record.id, stored.record.last_active);
                self.cache.apply(key, Some(stored));
            }
        }
        for ((app, id), last) in &self.outlived {
            if let Some(last) = last {
                watches.note(*app, id, *last);
            }
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
        self.created.push((key, stored.record.id.clone()));
        self.changed.insert(key, Some(stored));
    }

    pub(super) fn set(&mut self, key: Key, changes: Changes, now: Seconds) -> Result<Option<Session>, Error> {
        let Some(mut stored) = self.current(&key)?.filter(|stored| !stored.record.expired(now)) else {
            return Ok(None);
        };
        stored.record.data = changes.apply(stored.record.data.as_ref())?;
        stored.record.writes += 1;
        let session = stored.record.view(now);
        stored.record.renew(now);
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

    /// Removes sessions of an id, all of them if there are at most so many, after one that was removed. Says how many were
    /// removed, and the last of them if any may be left.
    pub(super) fn killsoid(
        &mut self,
        app: App,
        id: &UserId,
        after: Option<Token>,
        most: usize,
    ) -> Result<(u64, Option<Token>), Error> {
        let mut tokens = self
            .tokens(app, id, after)?
            .take(most + 1)
            .collect::<Result<Vec<_>, _>>()?;
        let left = tokens.len() > most;
        tokens.truncate(most);
        let last = tokens.last().copied().filter(|_| left);
        let keys = tokens.into_iter().map(|token| Key { app, token }).collect();
        Ok((self.remove_all(keys, None)?, last))
    }

    /// Removes those of `keys` that are still there: all of them, or if a second is given those that have expired by then.
    pub(super) fn remove_all(&mut self, keys: Vec<Key>, expired_at: Option<Seconds>) -> Result<u64, Error> {
        let mut removed = 0;
        for key in keys {
            let Some(stored) = self.current(&key)? else {
                continue;
            };
            match expired_at {
                // All sessions of their ids are to go: nothing has to outlive them.
                None => self.forget(key, &stored)?,
                Some(now) if stored.record.expired(now) => self.remove(key, &stored)?,
                Some(_) => continue,
            }
            removed += 1;
            self.yielder.step();
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

    /// The tokens of an id, after one of them, whose sessions this group has not removed; those that it created come last.
    fn tokens(
        &self,
        app: App,
        id: &UserId,
        after: Option<Token>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<Token, Error>>, Error> {
        let created = self.created.iter().filter(move |(key, of)| key.app == app && of == id);
        let created = created.map(|(key, _)| Ok(key.token));
        let removed = move |token: Token| matches!(self.changed.get(&Key { app, token }), Some(None));
        let tokens = self.cache.disk.tokens(app, id, after)?.chain(created);
        Ok(tokens.filter(move |token| !token.as_ref().is_ok_and(|token| removed(*token))))
    }

    /// Another session of an id than those that were removed: the last one. They are often removed from the first one on, and
    /// leave behind them what the engine has to step over.
    fn another(&self, app: App, id: &UserId) -> Result<Option<Token>, Error> {
        self.tokens(app, id, None)?.next_back().transpose()
    }

    /// Removes a session. Its activity outlives it as long as the id has others, as `activity` counts ids.
    fn remove(&mut self, key: Key, stored: &Stored) -> Result<(), Error> {
        self.batch.remove(&key, stored);
        self.changed.insert(key, None);
        let (app, id) = (key.app, &stored.record.id);
        let known = self.outlived(app, id)?;
        let last = match self.another(app, id)? {
            None => {
                self.gone.push((app, id.clone()));
                None
            }
            Some(token) => {
                let other = self.current(&Key { app, token })?.map(|other| other.record.last_active);
                let later = other.is_none_or(|other| other < stored.record.last_active);
                known.max(later.then_some(stored.record.last_active))
            }
        };
        self.outlive(app, id, known, last);
        Ok(())
    }

    /// Removes a session, and what outlived others of its id.
    fn forget(&mut self, key: Key, stored: &Stored) -> Result<(), Error> {
        if self.cache.watches.watching(key.app) {
            // It has to know which session of an id is the last one.
            return self.remove(key, stored);
        }
        self.batch.remove(&key, stored);
        self.changed.insert(key, None);
        let (app, id) = (key.app, &stored.record.id);
        let known = self.outlived(app, id)?;
        self.outlive(app, id, known, None);
        Ok(())
    }

    fn outlive(&mut self, app: App, id: &UserId, known: Option<Seconds>, last: Option<Seconds>) {
        if last != known {
            self.batch.outlive(app, id, last);
            self.outlived.insert((app, id.clone()), last);
        }
    }

    /// The last second at which a session of an id was active that is no more, if that has to be remembered.
    fn outlived(&self, app: App, id: &UserId) -> Result<Option<Seconds>, Error> {
        match self.outlived.get(&(app, id.clone())) {
            Some(last) => Ok(*last),
            None => self.cache.disk.outlived(app, id),
        }
    }
}
