//! The engine: a fjall database with three keyspaces, from its opening until it fails or is closed.
//!
//! After an error of the disk, a full one included, fjall takes no more writes: what it holds in memory may be ahead of
//! its files. It can still be read. The way back is to open its folder again: see [`super::disk`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, compaction::Leveled,
};
use tracing::error;

use super::{
    anchor::Anchor,
    rows::{self, END, Stored},
};
use crate::{
    session::{App, Record, Seconds, UserId},
    store::Error,
    store::Key,
};

/// How far an `activity` entry may lag behind its session, in seconds.
pub(super) const STEP: Seconds = 10;

/// The open engine.
pub(super) struct Engine {
    db: Database,
    pub(super) sessions: Keyspace,
    pub(super) users: Keyspace,
    pub(super) activity: Keyspace,
    /// Last, so that its handle is closed after all that uses paths through it.
    home: Anchor,
}

impl Engine {
    /// Opens or creates the database in a folder, with `cache` bytes for blocks.
    pub(super) fn open(home: Anchor, cache: u64) -> fjall::Result<Self> {
        // Small memtables keep memory a matter of settings, and flushes short; larger ones measured slower.
        const MEMTABLE: u64 = 8 * 1024 * 1024;
        // The least that fjall takes. What stands in journals is replayed at the next start.
        const JOURNALS: u64 = 64 * 1024 * 1024;
        // One of the threads only flushes, and where all others merge it asks without a rest for what else there is to merge.
        const THREADS: usize = 4;
        // Tokens are random, so what is written is spread over all that there is. The more of it comes together before it is
        // merged, the less often the rest is written again with it; the first level stays as large as it is by default. The
        // index of activity grows at its end. A folder keeps what it was made with.
        let options = |tables: u8, target: u64| {
            let merges = Leveled::default()
                .with_l0_threshold(tables)
                .with_table_target_size(target * 1024 * 1024);
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE)
                .compaction_strategy(Arc::new(merges))
        };
        let db = Database::builder(home.base())
            .worker_threads(THREADS)
            .cache_size(cache)
            .max_journaling_size(JOURNALS)
            .open()?;
        Ok(Self {
            sessions: db.keyspace("sessions", || options(8, 32))?,
            users: db.keyspace("users", || options(8, 32))?,
            activity: db.keyspace("activity", || options(4, 64))?,
            db,
            home,
        })
    }

    /// Leaves a mark in the journal, so that one without a single batch is known to have lost some.
    pub(super) fn leave_mark(&self) -> fjall::Result<()> {
        let mut batch = self.batch();
        self.mark(&mut batch);
        batch.commit()
    }

    fn batch(&self) -> OwnedWriteBatch {
        self.db.batch().durability(Some(PersistMode::SyncData))
    }

    fn mark(&self, batch: &mut OwnedWriteBatch) {
        batch.insert(&self.sessions, [END], []);
    }

    /// The path of one of its files, as an operator knows it.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        self.home.shown(path)
    }

    /// All of its keyspaces.
    pub(super) fn keyspaces(&self) -> [&Keyspace; 3] {
        [&self.sessions, &self.users, &self.activity]
    }

    /// Whether it still takes writes. Costs no access to the disk, as all batches are written through.
    pub(super) fn alive(&self) -> bool {
        self.db.persist(PersistMode::Buffer).is_ok()
    }

    /// Whether its threads are so far behind that it might make a commit wait for them. It waits without end if they have
    /// failed, so that whoever commits had better wait before, and ask [`Self::alive`] meanwhile.
    pub(super) fn behind(&self) -> bool {
        // The engine waits at 4 memtables and 20 runs. A commit of less than a memtable adds 2 to the first at most.
        self.keyspaces()
            .into_iter()
            .any(|keyspace| keyspace.tree.sealed_memtable_count() > 1 || keyspace.tree.l0_run_count() >= 20)
    }
}

/// Logs why the engine failed; clients learn only that it did.
#[expect(clippy::needless_pass_by_value, reason = "it is the last to see the error")]
pub(super) fn failed(cause: fjall::Error) -> Error {
    error!(%cause, "the embedded store failed");
    Error::Unavailable
}

/// Changes that come to disk together or not at all.
pub(super) struct Batch {
    engine: Arc<Engine>,
    batch: OwnedWriteBatch,
}

impl Batch {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let batch = engine.batch();
        Self { engine, batch }
    }

    /// Makes everything durable. After an error it may be there or not, and the engine takes no more.
    pub(super) fn commit(self) -> Result<(), Error> {
        // Where its own threads have failed, the engine may panic.
        catch_unwind(AssertUnwindSafe(|| self.batch.commit()))
            .map_err(|_| Error::Unavailable)?
            .map_err(failed)
    }

    /// A write that changes nothing: always the same one.
    pub(super) fn mark(&mut self) {
        self.engine.mark(&mut self.batch);
    }

    /// Adds a new session.
    pub(super) fn insert(&mut self, key: &Key, stored: &Stored) {
        self.enter_user(key, &stored.record);
        self.enter_activity(key, stored);
        self.put(key, stored);
    }

    /// Writes a changed session, and moves its `activity` entry if that lags by a step.
    pub(super) fn update(&mut self, key: &Key, stored: &mut Stored) {
        if stored.record.last_active >= stored.active.saturating_add(STEP) {
            self.reindex(key, stored);
        } else {
            self.put(key, stored);
        }
    }

    /// Moves the `activity` entry of a session to its last activity.
    pub(super) fn reindex(&mut self, key: &Key, stored: &mut Stored) {
        let old = rows::activity_key(key, stored.active);
        self.batch.remove(&self.engine.activity, old);
        stored.active = stored.record.last_active;
        self.enter_activity(key, stored);
        self.put(key, stored);
    }

    /// Removes every trace of a session.
    pub(super) fn remove(&mut self, key: &Key, stored: &Stored) {
        self.batch.remove(&self.engine.sessions, rows::session_key(key));
        self.batch
            .remove(&self.engine.users, rows::user_key(key, &stored.record.id));
        self.batch
            .remove(&self.engine.activity, rows::activity_key(key, stored.active));
    }

    /// Notes activity of an id that outlives its session; `None` if nothing of the id is left.
    pub(super) fn outlive(&mut self, app: App, id: &UserId, last: Option<Seconds>) {
        let key = rows::outlived_key(app, id.as_str());
        match last {
            Some(second) => self.batch.insert(&self.engine.activity, key, second.to_be_bytes()),
            None => self.batch.remove(&self.engine.activity, key),
        }
    }

    /// Removes one entry, whatever it is.
    pub(super) fn remove_entry(&mut self, keyspace: &Keyspace, key: &[u8]) {
        self.batch.remove(keyspace, key);
    }

    fn put(&mut self, key: &Key, stored: &Stored) {
        self.batch
            .insert(&self.engine.sessions, rows::session_key(key), rows::encode(stored));
    }

    /// Adds a session to the index of ids.
    pub(super) fn enter_user(&mut self, key: &Key, record: &Record) {
        self.batch
            .insert(&self.engine.users, rows::user_key(key, &record.id), []);
    }

    fn enter_activity(&mut self, key: &Key, stored: &Stored) {
        let entry = rows::activity_key(key, stored.active);
        self.batch
            .insert(&self.engine.activity, entry, rows::activity_value(&stored.record));
    }
}
