//! What stands on disk, through an engine that may fail and be opened again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{DataDir, Engine, WriteBatch};
use crate::{observability::metrics::Metrics, store::Error};

/// How long those who read may hold on to an engine that is to be closed.
const LET_GO: Duration = Duration::from_secs(2);

/// The engine of a data folder. Whoever has a reference to it keeps it from being closed.
enum Slot {
    Open(Arc<Engine>),
    /// It is being opened again, which takes as long as its journals are.
    Opening,
    /// That has failed, and will be tried again.
    Closed,
}

/// The disk.
pub(crate) struct EngineHandle {
    engine: RwLock<Slot>,
    /// Whether the folder has left its place. Nothing is answered then, as another process may own the place.
    gone: AtomicBool,
    /// Bytes for the engine's blocks.
    blocks: u64,
    pub(in crate::store::embedded::engine) metrics: Arc<Metrics>,
    /// Holds the folder's lock. Last, so that it is let go after the engine.
    folder: DataDir,
}

impl EngineHandle {
    /// Opens the engine of a folder, with so many bytes for its blocks.
    pub(crate) fn open(folder: DataDir, blocks: u64, metrics: Arc<Metrics>) -> Result<Self, String> {
        let engine = folder.open(blocks)?;
        Ok(Self {
            engine: RwLock::new(Slot::Open(Arc::new(engine))),
            gone: AtomicBool::new(false),
            blocks,
            metrics,
            folder,
        })
    }

    /// The open engine, unless the folder is not in its place.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, Error> {
        if self.gone() {
            return Err(Error::Unavailable);
        }
        self.any_engine()
    }

    pub(in crate::store::embedded::engine) fn any_engine(&self) -> Result<Arc<Engine>, Error> {
        match &*self.engine.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(engine) => Ok(engine.clone()),
            Slot::Opening | Slot::Closed => Err(Error::Unavailable),
        }
    }

    /// Whether it is worth while to wait a moment and ask again.
    pub(crate) fn reopening(&self) -> bool {
        matches!(
            *self.engine.read().unwrap_or_else(PoisonError::into_inner),
            Slot::Opening
        )
    }

    /// Whether the folder was found to have left its place.
    pub(crate) fn gone(&self) -> bool {
        // No data is handed over by this; a get that overlaps the change may count as before it.
        self.gone.load(Relaxed)
    }

    /// Whether what was just committed is in the folder that the path leads to. If not, the store counts as gone from now on.
    pub(crate) fn in_place(&self) -> Result<(), Error> {
        self.folder.in_place().map_err(|_| {
            self.gone.store(true, Relaxed);
            Error::Unavailable
        })
    }

    /// Looks at the folder more closely; the error says what is wrong.
    pub(crate) fn look(&self) -> Result<(), String> {
        self.folder.look()
    }

    /// The folder has left its place: answers nothing from now on, and closes the engine, so that it does no work of its own
    /// there either.
    pub(crate) fn lose(&self) {
        self.gone.store(true, Relaxed);
        self.shut();
    }

    /// The folder is in its place, and memory agrees with it.
    pub(crate) fn found(&self) {
        self.gone.store(false, Relaxed);
    }

    /// Closes the engine, unless a list that is under way keeps it too long.
    pub(crate) fn shut(&self) {
        if let Slot::Open(engine) = self.replace(Slot::Closed)
            && let Err(engine) = close(engine)
        {
            self.replace(Slot::Open(engine));
        }
    }

    /// Closes an engine that takes no more writes and opens its folder again, once the disk has room for it to go on.
    /// Until then it is left open for those who read.
    ///
    /// If the folder has left its place, it has to be back; nothing is answered before [`Self::found`].
    pub(crate) fn reopen(&self) -> Result<(), String> {
        self.folder.prepare()?;
        if let Slot::Open(engine) = self.replace(Slot::Opening)
            && let Err(engine) = close(engine)
        {
            self.replace(Slot::Open(engine));
            return Err("somebody still reads".into());
        }
        let opened = self.folder.open_again(self.blocks);
        let (slot, outcome) = match opened {
            Ok(engine) => (Slot::Open(Arc::new(engine)), Ok(())),
            Err(refused) => (Slot::Closed, Err(refused)),
        };
        self.replace(slot);
        outcome
    }

    fn replace(&self, slot: Slot) -> Slot {
        std::mem::replace(&mut *self.engine.write().unwrap_or_else(PoisonError::into_inner), slot)
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

/// Closes an engine once nobody has it any more; gives it back if somebody keeps it too long.
fn close(mut engine: Arc<Engine>) -> Result<(), Arc<Engine>> {
    let patience = Instant::now() + LET_GO;
    loop {
        match Arc::try_unwrap(engine) {
            Ok(last) => {
                // Where its own threads have failed, the engine may panic.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(last)));
                return Ok(());
            }
            Err(shared) if Instant::now() > patience => return Err(shared),
            Err(shared) => engine = shared,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
