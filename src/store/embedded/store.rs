//! The embedded store: opens, flushes and closes. Its operations are in `operations/`.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::error;

use super::{
    activity::Trackers,
    cache::Cache,
    engine::{DataDir, EngineHandle},
    writer::{EndProcess, Writer},
};
use crate::{
    observability::metrics::Metrics,
    process::supervisor::end_process,
    store::{Error, list_window::WindowBudget, throttle::Throttle},
};

/// Time limit for [`Embedded::close`].
const CLOSE_LIMIT: Duration = Duration::from_secs(4);
/// Pause between two looks at a condition that is about to change.
const POLL: Duration = Duration::from_millis(5);

/// The store in a folder of this process.
#[derive(Debug)]
pub struct Embedded {
    pub(in crate::store::embedded) writer: Writer,
    pub(in crate::store::embedded) cache: Arc<Cache>,
    /// Resolves once the writer has ended.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    /// The deadline of each batch of an operation that works in batches.
    pub(in crate::store::embedded) deadline: Duration,
    pub(in crate::store::embedded) throttle: Throttle,
    /// Shared by the windows of all lists.
    pub(in crate::store::embedded) budget: WindowBudget,
}

impl Embedded {
    /// Opens the folder, and creates it if it does not exist. `memory` is the size of the record cache and the block
    /// cache together, in bytes; the activity trackers may take as much again.
    ///
    /// Fails with one line for the operator if another process uses the folder, if it is not a data folder, if a newer
    /// version has written it, or if it is damaged. A folder that is refused stays as it was.
    pub fn open(folder: &Path, memory: u64, deadline: Duration, metrics: Arc<Metrics>) -> Result<Self, String> {
        Self::open_with(folder, memory, deadline, metrics, Box::new(|why| end_process(why)))
    }

    /// Does what [`Self::open`] does, with another way to end the process.
    pub(in crate::store::embedded) fn open_with(
        folder: &Path,
        memory: u64,
        deadline: Duration,
        metrics: Arc<Metrics>,
        end_process: EndProcess,
    ) -> Result<Self, String> {
        let disk = EngineHandle::open(DataDir::claim(folder)?, memory / 4, metrics)?;
        let cache = Arc::new(Cache::new(Arc::new(disk), memory / 4 * 3, Trackers::new(memory)));
        let (writer, ended) = Writer::spawn(cache.clone(), end_process)
            .map_err(|cause| format!("cannot start the writer thread: {cause}"))?;
        Ok(Self {
            writer,
            cache,
            ended: Mutex::new(Some(ended)),
            deadline,
            throttle: Throttle::new(deadline),
            budget: WindowBudget::new(),
        })
    }

    /// See [`crate::store::Store::close`]. Gives up after [`CLOSE_LIMIT`]. Then reads of the last second may be lost; every
    /// change that was answered is on disk.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        let closed = tokio::time::timeout(CLOSE_LIMIT, self.flush_and_end()).await;
        closed.unwrap_or_else(|_| {
            error!("the disk does not respond: reads of the last second are lost");
            Err(Error::Unavailable)
        })
    }

    async fn flush_and_end(&self) -> Result<(), Error> {
        self.writer.close().await?;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            // The sender is dropped when the thread ends. That is the signal, not an error.
            let _ = ended.await;
        }
        // A cancelled list may still read on a blocking thread. The folder is free once the last one has finished.
        for _ in 0..200 {
            if Arc::strong_count(&self.cache) == 1 {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits while the engine is being opened again. True if it was, so that a read that failed is worth another
    /// attempt. The request's deadline bounds the wait.
    pub(in crate::store::embedded) async fn reopened(&self) -> bool {
        let reopening = self.cache.disk.reopening();
        while self.cache.disk.reopening() {
            tokio::time::sleep(POLL).await;
        }
        reopening
    }

    /// Brings the disk up to date with all reads counted so far.
    pub(in crate::store::embedded) async fn flush(&self) -> Result<(), Error> {
        self.writer.flush().await
    }

    /// Runs work that may block on a thread for it.
    pub(in crate::store::embedded) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let cache = self.cache.clone();
        tokio::task::spawn_blocking(move || work(&cache))
            .await
            .unwrap_or(Err(Error::Internal))
    }
}
