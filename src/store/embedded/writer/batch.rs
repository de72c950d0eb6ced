//! A commit batch: changes that are applied one after the other and become durable together.
//!
//! Each change is atomic, because one thread applies them one at a time. A change sees the ones before it in the batch;
//! requests see none of them before the commit. Removals are in `removal.rs`.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::{
    session::{App, Record, Seconds, Token, UserId},
    store::{
        Error, Key,
        embedded::{
            cache::{Cache, Flushed},
            codec::Stored,
            engine::WriteBatch,
        },
        yielder::Yielder,
    },
};

/// Bytes of session data after which a batch takes no more changes.
///
/// Invariant: a batch fits into a memtable with room to spare; see
/// [`Engine::behind`](crate::store::embedded::engine::Engine::behind).
const FULL: usize = 4 * 1024 * 1024;

/// A batch that is being filled.
pub(crate) struct CommitBatch<'a> {
    pub(super) cache: &'a Cache,
    pub(super) writes: WriteBatch,
    /// The sessions as this batch leaves them; `None` where it removed one.
    pub(super) changed: HashMap<Key, Option<Stored>, RandomState>,
    /// The sessions that this batch created. The `users` index on disk does not have them yet.
    created: Vec<(Key, UserId)>,
    /// Outlived activity by id, as this batch leaves it.
    pub(super) outlived: HashMap<(App, UserId), Option<Seconds>>,
    /// Ids whose last session this batch removed. A later change may have created another one.
    pub(super) ended: Vec<(App, UserId)>,
    flushed: Vec<Flushed>,
    /// Session data in the batch, in bytes.
    data_bytes: usize,
    pub(super) yielder: Yielder,
    #[cfg(test)]
    pub(super) after_commit: Option<Box<dyn FnOnce() + Send>>,
}

impl<'a> CommitBatch<'a> {
    /// Fails if the engine is not open.
    pub(super) fn new(cache: &'a Cache) -> Result<Self, Error> {
        Ok(Self {
            cache,
            writes: cache.disk.batch()?,
            changed: HashMap::default(),
            created: Vec::new(),
            outlived: HashMap::new(),
            ended: Vec::new(),
            flushed: Vec::new(),
            data_bytes: 0,
            yielder: Yielder::new(),
            #[cfg(test)]
            after_commit: None,
        })
    }

    /// Whether no more changes should be added.
    pub(super) fn full(&self) -> bool {
        self.data_bytes > FULL
    }

    /// Makes everything durable, then visible.
    pub(super) fn commit(self) -> Result<(), Error> {
        self.writes.commit()?;
        self.cache.disk.in_place()?;
        #[cfg(test)]
        if let Some(run) = self.after_commit {
            run();
        }
        let Cache { trackers, .. } = self.cache;
        for (key, _) in self.changed.iter().filter(|(_, stored)| stored.is_none()) {
            self.cache.apply(*key, None);
        }
        // Invariant: at this point requests see no session of these ids: the removed ones are gone from the cache, and
        // those that the batch created afterwards are not in it yet.
        for (app, id) in &self.ended {
            trackers.remove(*app, id);
        }
        for (key, stored) in self.changed {
            if let Some(stored) = stored {
                trackers.record(key.app, &stored.record.id, stored.record.last_active);
                self.cache.apply(key, Some(stored));
            }
        }
        for ((app, id), last) in &self.outlived {
            if let Some(last) = last {
                trackers.record(*app, id, *last);
            }
        }
        for flushed in self.flushed {
            self.cache.settle(flushed);
        }
        Ok(())
    }

    /// Adds a write that changes nothing, so that the commit shows whether the disk takes writes.
    pub(crate) fn mark(&mut self) {
        self.writes.mark();
    }

    /// A session as this batch leaves it.
    pub(crate) fn load(&self, key: &Key) -> Result<Option<Stored>, Error> {
        match self.changed.get(key) {
            Some(stored) => Ok(stored.clone()),
            None => self.cache.peek(key),
        }
    }

    /// Adds a new session.
    pub(crate) fn create(&mut self, key: Key, record: Record) {
        let stored = Stored::new(record);
        self.weigh(&stored.record);
        self.writes.insert(&key, &stored);
        self.created.push((key, stored.record.id.clone()));
        self.changed.insert(key, Some(stored));
    }

    /// Replaces a session that [`Self::load`] has found.
    pub(crate) fn update(&mut self, key: Key, mut stored: Stored) {
        self.weigh(&stored.record);
        self.writes.update(&key, &mut stored);
        self.changed.insert(key, Some(stored));
    }

    /// Writes the buffered reads of a session, unless this batch writes the session already.
    pub(super) fn flush(&mut self, key: Key) {
        if self.changed.contains_key(&key) {
            return;
        }
        if let Some(mut stored) = self.cache.dirty_copy(&key) {
            self.weigh(&stored.record);
            self.writes.update(&key, &mut stored);
            self.flushed.push(Flushed { key, stored });
        }
    }

    /// The tokens of an id, as this batch leaves them: those after `after` on disk, then all that the batch created.
    pub(crate) fn tokens(
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

    fn weigh(&mut self, record: &Record) {
        self.data_bytes += record.data.as_ref().map_or(0, |data| data.as_str().len());
    }
}
