//! The engine: a fjall database with three keyspaces, from its opening until it fails or is closed.
//!
//! After an error of the disk, a full one included, fjall takes no more writes: what it holds in memory may be ahead of
//! its files. It can still be read. The way back is to open its folder again: see [`EngineHandle`].

mod anchor;
mod catch_panic;
mod claim;
mod data_dir;
mod handle;
mod journal_check;
mod reader;
mod snapshot;
mod write_batch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, compaction::Leveled,
};
use tracing::error;

use self::{anchor::Anchor, snapshot::CommitMarker};
pub(crate) use self::{
    data_dir::{DataDir, Refused, unusable},
    handle::EngineHandle,
    snapshot::Snapshot,
    write_batch::WriteBatch,
};
use crate::{
    session::Seconds,
    store::{Error, embedded::codec::END},
};

/// How far an `activity` entry may lag behind its session, in seconds.
pub(crate) const STEP: Seconds = 10;

/// The open engine.
pub(crate) struct Engine {
    db: Database,
    pub(crate) sessions: Keyspace,
    pub(crate) users: Keyspace,
    pub(crate) activity: Keyspace,
    commit_marker: CommitMarker,
    /// Last, so that its handle is closed after all that uses paths through it.
    home: Anchor,
}

impl Engine {
    /// Opens or creates the database in a folder, with `cache` bytes for blocks.
    pub(crate) fn open(home: Anchor, cache: u64) -> fjall::Result<Self> {
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
            commit_marker: CommitMarker::default(),
            home,
        })
    }

    /// Leaves a mark in the journal, so that one without a single batch is known to have lost some.
    pub(crate) fn leave_mark(&self) -> fjall::Result<()> {
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
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        self.home.shown(path)
    }

    /// All of its keyspaces.
    pub(crate) fn keyspaces(&self) -> [&Keyspace; 3] {
        [&self.sessions, &self.users, &self.activity]
    }

    /// Whether it still takes writes. Costs no access to the disk, as all batches are written through.
    pub(crate) fn alive(&self) -> bool {
        self.db.persist(PersistMode::Buffer).is_ok()
    }

    /// Whether its threads are so far behind that it might make a commit wait for them. It waits without end if they have
    /// failed, so that whoever commits had better wait before, and ask [`Self::alive`] meanwhile.
    pub(crate) fn behind(&self) -> bool {
        // The engine waits at 4 memtables and 20 runs. A commit of less than a memtable adds 2 to the first at most.
        self.keyspaces()
            .into_iter()
            .any(|keyspace| keyspace.tree.sealed_memtable_count() > 1 || keyspace.tree.l0_run_count() >= 20)
    }
}

/// Logs why the engine failed; clients learn only that it did.
#[expect(clippy::needless_pass_by_value, reason = "it is the last to see the error")]
pub(crate) fn failed(cause: fjall::Error) -> Error {
    error!(%cause, "the embedded store failed");
    Error::Unavailable
}
