//! Writes to the three keyspaces that one commit makes durable, all or none.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use fjall::{Keyspace, OwnedWriteBatch};
use tracing::error;

use super::database::{Engine, STEP, failed};
use crate::{
    session::{App, Record, Seconds, UserId},
    store::{
        Error, Key,
        embedded::codec::{self, Format, Stored},
    },
};

/// Writes that become durable together.
pub(crate) struct WriteBatch {
    engine: Arc<Engine>,
    batch: OwnedWriteBatch,
    /// The newest format of its records.
    format: Format,
}

impl WriteBatch {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let batch = engine.batch();
        Self {
            engine,
            batch,
            format: Format::One,
        }
    }

    /// Makes everything durable. After an error the writes may be on disk or not, and the engine takes no more.
    pub(crate) fn commit(self) -> Result<(), Error> {
        // Before the records: an older version must refuse the folder as soon as it may hold one of them.
        if self.format > Format::One {
            self.engine.raise_format(self.format).map_err(|cause| {
                error!(%cause, "cannot raise the format of the data folder: the changes are refused");
                Error::Unavailable
            })?;
        }
        let Self { engine, batch, .. } = self;
        engine.begin_commit();
        // The engine may panic if its own threads have failed.
        let outcome = catch_unwind(AssertUnwindSafe(|| batch.commit()));
        engine.end_commit();
        outcome.map_err(|_| Error::Unavailable)?.map_err(failed)
    }

    /// Adds a write that changes nothing.
    pub(crate) fn mark(&mut self) {
        self.engine.mark(&mut self.batch);
    }

    /// Adds a new session.
    pub(crate) fn insert(&mut self, key: &Key, stored: &Stored) {
        self.enter_user(key, &stored.record);
        self.enter_activity(key, stored);
        self.put(key, stored);
    }

    /// Writes a changed session. Moves its `activity` entry if that lags by [`STEP`].
    pub(crate) fn update(&mut self, key: &Key, stored: &mut Stored) {
        if stored.record.last_active >= stored.active.saturating_add(STEP) {
            self.reindex(key, stored);
        } else {
            self.put(key, stored);
        }
    }

    /// Writes a session and moves its `activity` entry to its last activity.
    pub(crate) fn reindex(&mut self, key: &Key, stored: &mut Stored) {
        let old = codec::activity_key(key, stored.active);
        self.batch.remove(&self.engine.activity, old);
        stored.active = stored.record.last_active;
        self.enter_activity(key, stored);
        self.put(key, stored);
    }

    /// Removes a session and both of its index entries.
    pub(crate) fn remove(&mut self, key: &Key, stored: &Stored) {
        let Engine {
            sessions,
            users,
            activity,
            ..
        } = &*self.engine;
        self.batch.remove(sessions, codec::session_key(key));
        self.batch.remove(users, codec::user_key(key, &stored.record.id));
        self.batch.remove(activity, codec::activity_key(key, stored.active));
    }

    /// Writes the outlived activity of an id, or removes it.
    pub(crate) fn outlive(&mut self, app: App, id: &UserId, last: Option<Seconds>) {
        let key = codec::outlived_key(app, id.as_str());
        match last {
            Some(second) => self.batch.insert(&self.engine.activity, key, second.to_be_bytes()),
            None => self.batch.remove(&self.engine.activity, key),
        }
    }

    /// Removes one entry of a keyspace.
    pub(crate) fn remove_entry(&mut self, keyspace: &Keyspace, key: &[u8]) {
        self.batch.remove(keyspace, key);
    }

    /// Adds a session to the `users` index.
    pub(crate) fn enter_user(&mut self, key: &Key, record: &Record) {
        self.batch
            .insert(&self.engine.users, codec::user_key(key, &record.id), []);
    }

    fn enter_activity(&mut self, key: &Key, stored: &Stored) {
        let entry = codec::activity_key(key, stored.active);
        self.batch
            .insert(&self.engine.activity, entry, codec::activity_value(&stored.record));
    }

    fn put(&mut self, key: &Key, stored: &Stored) {
        self.format = self.format.max(stored.format());
        self.batch
            .insert(&self.engine.sessions, codec::session_key(key), codec::encode(stored));
    }
}
