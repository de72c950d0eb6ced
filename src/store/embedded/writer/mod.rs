//! The writer: the only thread that changes the disk.
//!
//! Changes that arrive while it waits for the disk form the next commit batch and share one fsync: durable writes are
//! cheap under load, and wait for no timer without it.
//!
//! A panic in the thread costs the batch in progress: its requests get a 503, the engine is opened again, and the
//! thread goes on with the queue. A second panic within ten minutes ends the process; see
//! [`crate::process::supervisor`].

mod batch;
mod change;
mod queue;
mod recovery;
mod removal;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use tokio::sync::oneshot;
use tracing::error;

pub(crate) use self::{batch::CommitBatch, change::Change};
use self::{
    change::{Pending, Reply},
    queue::{Inbox, Order, Queue, Rejected},
    recovery::Recovery,
    worker::{Exit, Worker},
};
use crate::{
    process::supervisor::Panics,
    store::{Error, embedded::cache::Cache},
};

/// Ends the process, for the reason given.
pub(crate) type EndProcess = Box<dyn Fn(&str) + Send>;

/// The handle to the writer thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Queue,
}

impl Writer {
    /// Starts the thread. It ends after [`Self::close`], when the last handle is dropped, or with `end_process`. The
    /// returned receiver resolves once the thread has ended and closed the engine.
    pub(crate) fn spawn(cache: Arc<Cache>, end_process: EndProcess) -> std::io::Result<(Self, oneshot::Receiver<()>)> {
        let (queue, inbox) = queue::queue();
        let (alive, ended) = oneshot::channel();
        std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            let _alive = alive;
            supervise(&cache, &inbox, &end_process);
        })?;
        Ok((Self { queue }, ended))
    }

    /// Applies a change and makes it durable. Fails with `Unavailable` if the queue is full or the commit fails.
    pub(crate) async fn apply<C: Change>(&self, change: C) -> Result<C::Outcome, Error> {
        self.send(|reply| Order::Change(Box::new(Pending::new(change, reply))))
            .await
    }

    /// Writes every read that has been counted so far.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        self.send(Order::Flush).await
    }

    /// Writes every read that has been counted so far, and ends the thread.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.send(Order::Close).await
    }

    async fn send<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(order(reply)).map_err(|rejected| {
            let why = match rejected {
                Rejected::Full => "the disk does not keep up and the queue is full",
                Rejected::Ended => "its writer has ended",
            };
            error!(why, "the embedded store refuses a change");
            Error::Unavailable
        })?;
        answer.await.unwrap_or(Err(Error::Unavailable))
    }
}

/// Runs the worker until it is told to close, and once more after a panic.
fn supervise(cache: &Cache, inbox: &Inbox, end_process: &EndProcess) {
    let mut panics = Panics::default();
    let mut recovery = Recovery::default();
    loop {
        // The state that a panic leaves behind is dropped: dropped replies become 503s, and the engine and the cache
        // are read from the disk again.
        let worker = Worker::new(cache, recovery);
        let now = match catch_unwind(AssertUnwindSafe(|| worker.run(inbox))) {
            Ok(Exit::Closed) => return cache.disk.shut(),
            Ok(Exit::GivenUp) => {
                return end_process("the embedded store could not be opened again after a panic of its writer");
            }
            Err(_) => Instant::now(),
        };
        if panics.record(now) {
            return end_process("the writer of the embedded store panicked twice within ten minutes");
        }
        error!("the writer of the embedded store panicked: its changes are refused, and the store is opened again");
        recovery = Recovery::after_panic(cache, now);
    }
}
