//! Short reads that wait to go out together: one system call, here and in Redis, then serves many. Commands that keep
//! Redis busy for longer gain nothing by it, as they would wait for one another.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use deadpool_redis::redis::{Cmd, Value};
use tokio::{
    sync::{Notify, oneshot},
    task::yield_now,
};

use super::failure::Failure;

/// The most commands that go out at once: each waits for the replies to all of them.
pub(super) const BATCH: usize = 512;

/// Batches under way. While they are, the next one grows.
pub(super) const UNDER_WAY: usize = 2;

/// A command, and who waits for its reply.
pub(super) struct Waiting {
    pub(super) cmd: Cmd,
    pub(super) reply: oneshot::Sender<Result<Value, Failure>>,
}

/// The commands that wait.
pub(super) struct Queue {
    waiting: Mutex<Vec<Waiting>>,
    filled: Notify,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Adds a command and waits for its reply.
    pub(super) async fn answer(&self, cmd: Cmd) -> Result<Value, Failure> {
        // Whoever takes commands may have ended, or have had no reply.
        self.push(cmd).await.unwrap_or(Err(Failure::Unavailable))
    }

    fn push(&self, cmd: Cmd) -> oneshot::Receiver<Result<Value, Failure>> {
        let (reply, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.push(Waiting { cmd, reply });
        if waiting.len() == 1 {
            self.filled.notify_one();
        }
        receiver
    }

    /// Waits for commands, and takes all.
    pub(super) async fn take(&self) -> Vec<Waiting> {
        self.filled.notified().await;
        // Whoever has a request here already gets its turn first. Where there is nobody, this costs nothing.
        yield_now().await;
        let mut waiting = mem::take(&mut *self.lock());
        // Some have given up, at their deadline or with their client.
        waiting.retain(|one| !one.reply.is_closed());
        waiting
    }

    /// A panic under the lock leaves the list whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
