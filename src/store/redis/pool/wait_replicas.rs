//! Changes that are answered once enough replicas have acknowledged them (`WAIT`).
//!
//! A connection that waits serves nothing else, so these changes have a connection of their own. Changes that arrive
//! while it waits form the next batch, which shares one `WAIT`.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_redis::redis::{Cmd, Value};
use tokio::sync::{Notify, oneshot};

use crate::store::redis::{
    connection::{resp::RawReply, retry::RetryPolicy},
    error::CommandError,
    pool::connections::Connections,
    scripts::Script,
};

/// A change that waits for its batch.
struct WaitingChange {
    cmd: Cmd,
    caller: oneshot::Sender<Result<RawReply, CommandError>>,
}

/// The changes of one server that have to reach replicas.
pub(super) struct ReplicatedChanges {
    /// One connection, as `WAIT` is about the changes of its own connection.
    pub(super) connection: Connections,
    waiting: Mutex<Vec<WaitingChange>>,
    filled: Notify,
    /// How many replicas have to acknowledge a change.
    replicas: u16,
    /// The longest wait for replicas. Less than half of the timeout: a change may have to wait for the batch before it.
    patience: Duration,
    /// Hashes of scripts that the server has run on this connection.
    known: Mutex<HashSet<String>>,
}

impl ReplicatedChanges {
    /// Changes on one `connection`, each within `timeout`.
    pub(super) fn new(connection: Connections, replicas: u16, timeout: Duration) -> Self {
        Self {
            connection,
            waiting: Mutex::default(),
            filled: Notify::new(),
            replicas,
            patience: timeout * 2 / 5,
            known: Mutex::default(),
        }
    }

    /// Runs a script, by its hash only if the server certainly knows it. Why: a refusal takes as long as its batch,
    /// and the timeout has no room for several batches.
    pub(super) async fn answer(
        &self,
        script: &Script,
        arguments: &(dyn Fn(&mut Cmd) + Sync),
    ) -> Result<RawReply, CommandError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let by_hash = known().contains(script.hash());
        let mut reply = Err(CommandError::NoScript);
        if by_hash {
            reply = self.enqueue(script.by_hash(arguments)).await;
        }
        if let Err(CommandError::NoScript) = reply {
            reply = self.enqueue(script.by_source(arguments)).await;
        }
        match reply {
            Ok(_) | Err(CommandError::NotReplicated) if by_hash => {}
            Ok(_) | Err(CommandError::NotReplicated) => {
                known().insert(script.hash().to_owned());
            }
            // The next connection may lead to a server that knows no script.
            Err(_) => known().clear(),
        }
        reply
    }

    /// Adds a command to the next batch and waits for its reply.
    async fn enqueue(&self, cmd: Cmd) -> Result<RawReply, CommandError> {
        let (caller, receiver) = oneshot::channel();
        {
            let mut waiting = self.lock();
            waiting.push(WaitingChange { cmd, caller });
            if waiting.len() == 1 {
                self.filled.notify_one();
            }
        }
        // The task that sends batches may have ended.
        receiver.await.unwrap_or(Err(CommandError::Unavailable))
    }

    /// Sends one batch after the other, for ever.
    pub(super) async fn serve(&self) {
        loop {
            self.filled.notified().await;
            let mut batch = mem::take(&mut *self.lock());
            // Callers may have given up at their deadline.
            batch.retain(|change| !change.caller.is_closed());
            if !batch.is_empty() {
                self.send(batch).await;
            }
        }
    }

    /// Sends a batch and gives each caller its reply. Without enough replicas all of them fail.
    async fn send(&self, batch: Vec<WaitingChange>) {
        let (commands, callers): (Vec<_>, Vec<_>) = batch.into_iter().map(|change| (change.cmd, change.caller)).unzip();
        let milliseconds = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
        let mut wait = Cmd::with_capacity(3, 32);
        wait.arg("WAIT").arg(self.replicas).arg(milliseconds.max(1));
        let commands: Vec<&Cmd> = commands.iter().chain([&wait]).collect();
        let (pooled, replies) = match self.connection.ask(&commands, RetryPolicy::Never).await {
            Ok(answered) => answered,
            Err(error) => {
                for caller in callers {
                    // The caller may have given up; so below.
                    let _ = caller.send(Err(error.again()));
                }
                return;
            }
        };
        let mut replies: Vec<RawReply> = replies.each().collect();
        let acknowledged = replies.pop().and_then(|count| count.value().ok());
        let enough = matches!(acknowledged, Some(Value::Int(count)) if count >= self.replicas.into());
        for (caller, reply) in callers.into_iter().zip(replies) {
            let reply = self.connection.conclude(&pooled, reply.only());
            let reply = reply.and_then(|reply| {
                if enough {
                    Ok(reply)
                } else {
                    Err(CommandError::NotReplicated)
                }
            });
            let _ = caller.send(reply);
        }
    }

    /// A panic under the lock leaves the list whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Vec<WaitingChange>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
