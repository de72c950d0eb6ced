//! The open database and its keyspaces.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, compaction::Leveled,
};
use tracing::error;

use super::{anchor::Anchor, commit_marker::CommitMarker, marker::Marker};
use crate::{
    session::Seconds,
    store::{
        Error,
        embedded::codec::{END, Format},
    },
};

/// An `activity` entry lags behind its session by less than this, in seconds. Why: moving it at every read would double
/// the writes of a busy session.
pub(crate) const STEP: Seconds = 10;

/// The open engine.
pub(crate) struct Engine {
    pub(super) db: Database,
    pub(crate) sessions: Keyspace,
    pub(crate) users: Keyspace,
    pub(crate) activity: Keyspace,
    pub(super) commit_marker: CommitMarker,
    marker: Arc<Marker>,
    /// Invariant: dropped last, because the engine uses paths through its handle.
    home: Anchor,
}

impl Engine {
    /// Opens the database in a folder, or creates it, with `cache` bytes for blocks. `marker` is that of the data
    /// folder.
    pub(crate) fn open(home: Anchor, cache: u64, marker: Arc<Marker>) -> fjall::Result<Self> {
        // Small memtables bound memory by the settings and keep flushes short. Larger ones measured slower.
        const MEMTABLE: u64 = 8 * 1024 * 1024;
        // The minimum that fjall accepts. The next start replays the journals.
        const JOURNALS: u64 = 64 * 1024 * 1024;
        // One of the threads only flushes. While all others compact, it polls for more compactions without a pause.
        const THREADS: usize = 4;
        // Tokens are random, so writes are spread over the whole key space. The more runs a compaction merges at once,
        // the less often it rewrites the levels below; the first level keeps fjall's default size. The `activity` index
        // grows at its end, so it gets other values. A folder keeps the options that it was created with.
        let options = |tables: u8, target: u64| {
            let compaction = Leveled::default()
                .with_l0_threshold(tables)
                .with_table_target_size(target * 1024 * 1024);
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE)
                .compaction_strategy(Arc::new(compaction))
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
            marker,
            home,
        })
    }

    /// Writes an entry that changes nothing. Every journal then has at least one batch, and an empty one is known to be
    /// damaged.
    pub(crate) fn leave_mark(&self) -> fjall::Result<()> {
        let mut batch = self.batch();
        self.mark(&mut batch);
        batch.commit()
    }

    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch().durability(Some(PersistMode::SyncData))
    }

    pub(super) fn mark(&self, batch: &mut OwnedWriteBatch) {
        batch.insert(&self.sessions, [END], []);
    }

    /// Raises the format of the data folder, durably, before a record of that format is written.
    pub(super) fn raise_format(&self, format: Format) -> std::io::Result<()> {
        self.marker.raise(format)
    }

    /// The path of one of its files below the folder that the operator has configured.
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        self.home.shown(path)
    }

    /// All keyspaces.
    pub(crate) fn keyspaces(&self) -> [&Keyspace; 3] {
        [&self.sessions, &self.users, &self.activity]
    }

    /// Whether the engine still takes writes. Does not access the disk, because every batch is written through.
    pub(crate) fn alive(&self) -> bool {
        self.db.persist(PersistMode::Buffer).is_ok()
    }

    /// Whether the engine might stall a commit until its own threads have caught up. If those have failed, it stalls
    /// for ever, so the writer waits before it commits, and checks [`Self::alive`] meanwhile.
    pub(crate) fn behind(&self) -> bool {
        // fjall stalls at 4 sealed memtables and at 20 runs. A commit smaller than a memtable seals at most 2 more.
        self.keyspaces()
            .into_iter()
            .any(|keyspace| keyspace.tree.sealed_memtable_count() > 1 || keyspace.tree.l0_run_count() >= 20)
    }
}

/// Logs the cause of a failure. Clients learn only that the store is unavailable.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn failed(cause: fjall::Error) -> Error {
    error!(%cause, "the embedded store failed");
    Error::Unavailable
}
