//! Changes that are answered once replicas have them.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use deadpool::managed;
use deadpool_redis::redis::Cmd;
use tokio::sync::{Notify, oneshot};

use crate::store::redis::{connection::resp::RawReply, error::CommandError, pool::manager::Manager, scripts::Script};

/// A change, and who waits for its reply.
pub(crate) struct Waiting {
    pub(crate) cmd: Cmd,
    pub(crate) reply: oneshot::Sender<Result<RawReply, CommandError>>,
}

/// The changes that wait to go out together.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Vec<Waiting>>,
    filled: Notify,
}

/// Changes that wait for replicas.
pub(crate) struct Replicated {
    pub(crate) links: managed::Pool<Manager>,
    pub(crate) queue: Queue,
    pub(crate) replicas: u16,
    /// Scripts, by hash, that the server has run on this connection.
    known: Mutex<HashSet<String>>,
}

impl Replicated {
    /// `links` has one connection, as the replies of a group are those of one.
    pub(crate) fn new(links: managed::Pool<Manager>, replicas: u16) -> Self {
        Self {
            links,
            queue: Queue::default(),
            replicas,
            known: Mutex::default(),
        }
    }

    /// Runs a script: by its hash only if the server is sure to know it. A refusal takes as long as the changes that it
    /// goes with, and a change has no time for several of them.
    pub(crate) async fn answer(
        &self,
        script: &Script,
        arguments: &(dyn Fn(&mut Cmd) + Sync),
    ) -> Result<RawReply, CommandError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let by_hash = known().contains(script.hash());
        let mut reply = Err(CommandError::NoScript);
        if by_hash {
            reply = self.queue.answer(script.by_hash(arguments)).await;
        }
        if let Err(CommandError::NoScript) = reply {
            reply = self.queue.answer(script.by_source(arguments)).await;
        }
        match reply {
            Ok(_) | Err(CommandError::NotReplicated) if by_hash => {}
            Ok(_) | Err(CommandError::NotReplicated) => {
                known().insert(script.hash().to_owned());
            }
            // The next connection may lead to a server that knows none.
            Err(_) => known().clear(),
        }
        reply
    }
}

impl Queue {
    /// Adds a command and waits for its reply.
    async fn answer(&self, cmd: Cmd) -> Result<RawReply, CommandError> {
        let (reply, receiver) = oneshot::channel();
        {
            let mut waiting = self.lock();
            waiting.push(Waiting { cmd, reply });
            if waiting.len() == 1 {
                self.filled.notify_one();
            }
        }
        // Whoever takes commands may have ended.
        receiver.await.unwrap_or(Err(CommandError::Unavailable))
    }

    /// Waits for commands, and takes all.
    pub(crate) async fn take(&self) -> Vec<Waiting> {
        self.filled.notified().await;
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
