//! The embedded store: fjall in a folder, one thread that writes, and records in memory for those who read.
//!
//! Creates, sets and kills are on disk before they are answered. Reads and last activity happen in memory and are on
//! disk within a second; what a crash can cost is that second of `r` and `la`, never a session or its data.
//!
//! A disk that takes no more stops the changes, not the reads, and once it does again the engine is opened anew. A data folder
//! that its path does not lead to any more stops both: another process may own what is there now. See `claim.rs`.

mod activity;
mod cache;
mod check;
mod codec;
mod engine;
mod operations;
mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::error;

pub use self::operations::Listing;
use self::{
    activity::Trackers,
    cache::Cache,
    engine::{DataDir, EngineHandle},
    writer::{End, Order, Writer},
};
pub(crate) use self::{check::check, engine::Refused};
use crate::{
    observability::metrics::Metrics,
    process::supervisor::end_process,
    session::{App, Changes, Record, Seconds, Session, Token},
    store::Error,
    store::{Key, list_window::WindowBudget, throttle::Throttle},
};

/// Entries that a list and the wiper look at in one go, off the async workers.
const LOOK: usize = 8192;
/// How long the end may take.
const CLOSE: Duration = Duration::from_secs(4);

/// The store in a folder of this process.
#[derive(Debug)]
pub struct Embedded {
    writer: Writer,
    cache: Arc<Cache>,
    /// Resolves when the writer has ended.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    /// For each batch of an operation that has many.
    deadline: Duration,
    turns: Throttle,
    /// Shared by the windows of all lists.
    budget: WindowBudget,
}

impl Embedded {
    /// Opens the folder, or makes it. `memory` is for records and blocks together, in bytes; watches of activity may take as
    /// much again.
    ///
    /// The error is one line for the operator: another process has the folder, it is not ours, or it is damaged. A folder
    /// that is refused is left as it was.
    pub fn open(folder: &Path, memory: u64, deadline: Duration, metrics: Arc<Metrics>) -> Result<Self, String> {
        Self::open_or(folder, memory, deadline, metrics, Box::new(|why| end_process(why)))
    }

    /// The same with another way to end the process.
    fn open_or(
        folder: &Path,
        memory: u64,
        deadline: Duration,
        metrics: Arc<Metrics>,
        end: End,
    ) -> Result<Self, String> {
        let disk = EngineHandle::open(DataDir::claim(folder)?, memory / 4, metrics)?;
        let cache = Arc::new(Cache::new(Arc::new(disk), memory / 4 * 3, Trackers::new(memory)));
        let (writer, ended) =
            Writer::spawn(cache.clone(), end).map_err(|cause| format!("cannot start the writer thread: {cause}"))?;
        Ok(Self {
            writer,
            cache,
            ended: Mutex::new(Some(ended)),
            deadline,
            turns: Throttle::new(deadline),
            budget: WindowBudget::new(),
        })
    }

    /// See [`super::Store::create`]; so for the others.
    pub(crate) async fn create(&self, app: App, token: Token, record: Record) -> Result<Token, Error> {
        let create = |reply| Order::Create(Key { app, token }, record, reply);
        self.writer.ask(create).await.map(|()| token)
    }

    /// What [`Self::get`] finds, unless it has to wait for the engine.
    pub(crate) fn get_now(&self, app: App, token: Token, now: Seconds) -> Option<Result<Option<Session>, Error>> {
        let found = self.cache.get(Key { app, token }, now);
        (found.is_ok() || !self.cache.disk.reopening()).then_some(found)
    }

    pub(crate) async fn get(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        loop {
            if let Some(found) = self.get_now(app, token, now) {
                return found;
            }
            self.reopened().await;
        }
    }

    pub(crate) async fn look(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        loop {
            let found = self.cache.peek(&Key { app, token });
            if found.is_ok() || !self.reopened().await {
                let live = found?.filter(|stored| !stored.record.expired(now));
                return Ok(live.map(|stored| stored.record.view(now)));
            }
        }
    }

    pub(crate) async fn set(
        &self,
        app: App,
        token: Token,
        changes: Changes,
        now: Seconds,
    ) -> Result<Option<Session>, Error> {
        self.writer
            .ask(|reply| Order::Set(Key { app, token }, changes, now, reply))
            .await
    }

    pub(crate) async fn kill(&self, app: App, token: Token, now: Seconds) -> Result<bool, Error> {
        self.writer
            .ask(|reply| Order::Kill(Key { app, token }, now, reply))
            .await
    }

    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.writer.ask(Order::Ping).await
    }

    /// See [`super::Store::close`]. Gives up after [`CLOSE`]: what a disk that does not answer has not taken by then is reads
    /// of the last second, as all changes are on it before they are answered.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        let closed = tokio::time::timeout(CLOSE, self.end()).await;
        closed.unwrap_or_else(|_| {
            error!("the disk does not answer: the last reads are not written");
            Err(Error::Unavailable)
        })
    }

    async fn end(&self) -> Result<(), Error> {
        self.writer.ask(Order::Close).await?;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            // It ends by being dropped, and that is no error.
            let _ = ended.await;
        }
        // Lists that nobody waits for any more may still read. The folder is free once the last of them has let go.
        for _ in 0..200 {
            if Arc::strong_count(&self.cache) == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Whether a read failed only because the engine was being opened again; then it is open now. The request's deadline
    /// bounds the wait.
    async fn reopened(&self) -> bool {
        let reopening = self.cache.disk.reopening();
        while self.cache.disk.reopening() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reopening
    }

    async fn flush(&self) -> Result<(), Error> {
        self.writer.ask(Order::Flush).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let cache = self.cache.clone();
        tokio::task::spawn_blocking(move || work(&cache))
            .await
            .unwrap_or(Err(Error::Internal))
    }
}
