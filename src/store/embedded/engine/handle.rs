//! The engine of a data folder as the rest of the store sees it: it may fail, be closed, and be opened again.
//!
//! A reference to the engine keeps it from being closed, so readers take one for a single step only. Reads are in
//! `reader.rs`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{data_dir::DataDir, database::Engine, newer_records::NewerRecords, write_batch::WriteBatch};
use crate::{observability::metrics::Metrics, store::Error};

/// Longest wait for readers before an engine is closed.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The engine, if there is one.
enum Slot {
    Open(Arc<Engine>),
    /// It is being opened again, which takes longer the longer its journals are.
    Opening,
    /// It was closed, or could not be opened again yet.
    Closed,
}

/// The engine of a data folder.
pub(crate) struct EngineHandle {
    slot: RwLock<Slot>,
    /// The path of the folder no longer leads to it. Then no request is answered, because another process may own what
    /// is at the path now.
    gone: AtomicBool,
    /// Size of the engine's block cache, in bytes.
    block_cache: u64,
    pub(super) metrics: Arc<Metrics>,
    pub(super) newer_records: NewerRecords,
    /// Invariant: dropped after the engine, because it holds the lock of the folder.
    folder: DataDir,
}

impl EngineHandle {
    /// Opens the engine of a folder, with a block cache of so many bytes.
    pub(crate) fn open(folder: DataDir, block_cache: u64, metrics: Arc<Metrics>) -> Result<Self, String> {
        let engine = folder.open(block_cache)?;
        Ok(Self {
            slot: RwLock::new(Slot::Open(Arc::new(engine))),
            gone: AtomicBool::new(false),
            block_cache,
            metrics,
            newer_records: NewerRecords::default(),
            folder,
        })
    }

    /// The open engine. Fails if it is not open or the folder is gone.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, Error> {
        if self.gone() {
            return Err(Error::Unavailable);
        }
        self.any_engine()
    }

    /// The open engine, even if the folder is gone.
    pub(super) fn any_engine(&self) -> Result<Arc<Engine>, Error> {
        match &*self.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(engine) => Ok(engine.clone()),
            Slot::Opening | Slot::Closed => Err(Error::Unavailable),
        }
    }

    /// Whether the engine is being opened, so that a failed read is worth another attempt soon.
    pub(crate) fn reopening(&self) -> bool {
        matches!(*self.slot.read().unwrap_or_else(PoisonError::into_inner), Slot::Opening)
    }

    /// Whether the path of the folder was found to lead elsewhere.
    pub(crate) fn gone(&self) -> bool {
        // Relaxed: the flag publishes no data, and a get that overlaps the change may count as one before it.
        self.gone.load(Relaxed)
    }

    /// Checks after a commit that it went into the folder that the path leads to. Otherwise the folder counts as gone.
    pub(crate) fn in_place(&self) -> Result<(), Error> {
        self.folder.in_place().map_err(|_| {
            self.gone.store(true, Relaxed);
            Error::Unavailable
        })
    }

    /// Checks the folder more closely. The error says what is wrong.
    pub(crate) fn check_presence(&self) -> Result<(), String> {
        self.folder.check_presence()
    }

    /// Treats the folder as gone. Closes the engine too, so that its threads stop working there.
    pub(crate) fn lose(&self) {
        self.gone.store(true, Relaxed);
        self.shut();
    }

    /// Treats the folder as present again. Memory must agree with it.
    pub(crate) fn found(&self) {
        self.gone.store(false, Relaxed);
    }

    /// Closes the engine, unless a reader keeps it longer than [`CLOSE_WAIT`].
    pub(crate) fn shut(&self) {
        if let Slot::Open(engine) = self.replace(Slot::Closed)
            && let Err(engine) = close(engine)
        {
            self.replace(Slot::Open(engine));
        }
    }

    /// Closes an engine that takes no more writes and opens its folder again. Fails, and leaves the engine open for
    /// readers, while the disk has no room for it.
    ///
    /// If the folder was gone, it must be back in its place. No request is answered before [`Self::found`].
    pub(crate) fn reopen(&self) -> Result<(), String> {
        self.folder.prepare()?;
        if let Slot::Open(engine) = self.replace(Slot::Opening)
            && let Err(engine) = close(engine)
        {
            self.replace(Slot::Open(engine));
            return Err("a reader still uses the old engine".into());
        }
        let opened = self.folder.open_again(self.block_cache);
        let (slot, outcome) = match opened {
            Ok(engine) => (Slot::Open(Arc::new(engine)), Ok(())),
            Err(refused) => (Slot::Closed, Err(refused)),
        };
        self.replace(slot);
        outcome
    }

    fn replace(&self, slot: Slot) -> Slot {
        std::mem::replace(&mut *self.slot.write().unwrap_or_else(PoisonError::into_inner), slot)
    }

    /// An empty batch.
    pub(crate) fn batch(&self) -> Result<WriteBatch, Error> {
        self.engine().map(WriteBatch::new)
    }
}

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

/// Closes an engine once the last reader has dropped it. Gives it back if one keeps it longer than [`CLOSE_WAIT`].
fn close(mut engine: Arc<Engine>) -> Result<(), Arc<Engine>> {
    let deadline = Instant::now() + CLOSE_WAIT;
    loop {
        match Arc::try_unwrap(engine) {
            Ok(last) => {
                // The engine may panic if its own threads have failed.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(last)));
                return Ok(());
            }
            Err(shared) if Instant::now() > deadline => return Err(shared),
            Err(shared) => engine = shared,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
