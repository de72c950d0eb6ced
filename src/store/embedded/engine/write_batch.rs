//! Changes of the three keyspaces that one commit makes durable.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use fjall::{Keyspace, OwnedWriteBatch};

use super::{Engine, STEP, failed};
use crate::{
    session::{App, Record, Seconds, UserId},
    store::{
        Error, Key,
        embedded::codec::{self, Stored},
    },
};

/// Changes that come to disk together or not at all.
pub(crate) struct WriteBatch {
    engine: Arc<Engine>,
    batch: OwnedWriteBatch,
}

impl WriteBatch {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let batch = engine.batch();
        Self { engine, batch }
    }

    /// Makes everything durable. After an error it may be there or not, and the engine takes no more.
    pub(crate) fn commit(self) -> Result<(), Error> {
        let Self { engine, batch } = self;
        engine.begin_commit();
        // Where its own threads have failed, the engine may panic.
        let outcome = catch_unwind(AssertUnwindSafe(|| batch.commit()));
        engine.end_commit();
        outcome.map_err(|_| Error::Unavailable)?.map_err(failed)
    }

    /// A write that changes nothing: always the same one.
    pub(crate) fn mark(&mut self) {
        self.engine.mark(&mut self.batch);
    }

    /// Adds a new session.
    pub(crate) fn insert(&mut self, key: &Key, stored: &Stored) {
        self.enter_user(key, &stored.record);
        self.enter_activity(key, stored);
        self.put(key, stored);
    }

    /// Writes a changed session, and moves its `activity` entry if that lags by a step.
    pub(crate) fn update(&mut self, key: &Key, stored: &mut Stored) {
        if stored.record.last_active >= stored.active.saturating_add(STEP) {
            self.reindex(key, stored);
        } else {
            self.put(key, stored);
        }
    }

    /// Moves the `activity` entry of a session to its last activity.
    pub(crate) fn reindex(&mut self, key: &Key, stored: &mut Stored) {
        let old = codec::activity_key(key, stored.active);
        self.batch.remove(&self.engine.activity, old);
        stored.active = stored.record.last_active;
        self.enter_activity(key, stored);
        self.put(key, stored);
    }

    /// Removes every trace of a session.
    pub(crate) fn remove(&mut self, key: &Key, stored: &Stored) {
        self.batch.remove(&self.engine.sessions, codec::session_key(key));
        self.batch
            .remove(&self.engine.users, codec::user_key(key, &stored.record.id));
        self.batch
            .remove(&self.engine.activity, codec::activity_key(key, stored.active));
    }

    /// Notes activity of an id that outlives its session; `None` if nothing of the id is left.
    pub(crate) fn outlive(&mut self, app: App, id: &UserId, last: Option<Seconds>) {
        let key = codec::outlived_key(app, id.as_str());
        match last {
            Some(second) => self.batch.insert(&self.engine.activity, key, second.to_be_bytes()),
            None => self.batch.remove(&self.engine.activity, key),
        }
    }

    /// Removes one entry, whatever it is.
    pub(crate) fn remove_entry(&mut self, keyspace: &Keyspace, key: &[u8]) {
        self.batch.remove(keyspace, key);
    }

    fn put(&mut self, key: &Key, stored: &Stored) {
        self.batch
            .insert(&self.engine.sessions, codec::session_key(key), codec::encode(stored));
    }

    /// Adds a session to the index of ids.
    pub(crate) fn enter_user(&mut self, key: &Key, record: &Record) {
        self.batch
            .insert(&self.engine.users, codec::user_key(key, &record.id), []);
    }

    fn enter_activity(&mut self, key: &Key, stored: &Stored) {
        let entry = codec::activity_key(key, stored.active);
        self.batch
            .insert(&self.engine.activity, entry, codec::activity_value(&stored.record));
    }
}
