//! Commands that wait to be sent on one connection.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::store::redis::connection::{
    health::ConnectionHealth,
    retry::{NoReply, RetryPolicy},
};

/// What the handles of a connection share with its task.
pub(super) struct ConnectionQueue {
    unsent: Mutex<UnsentCommands>,
    filled: Notify,
    pub(super) health: Arc<ConnectionHealth>,
    /// The longest wait for a reply.
    pub(super) timeout: Duration,
}

/// Encoded commands, and the callers that wait for their replies.
#[derive(Default)]
struct UnsentCommands {
    bytes: Vec<u8>,
    commands: Vec<PendingCommands>,
    /// Whether the connection has ended.
    ended: bool,
}

/// Commands of one caller, whose replies it gets together.
pub(super) struct PendingCommands {
    /// How many bytes they have.
    pub(super) length: usize,
    /// How many replies they get.
    pub(super) replies: usize,
    pub(super) retry: RetryPolicy,
    pub(super) caller: oneshot::Sender<Result<Bytes, NoReply>>,
}

impl ConnectionQueue {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            unsent: Mutex::default(),
            filled: Notify::new(),
            health: Arc::default(),
            timeout,
        }
    }

    /// Adds `replies` commands that `encode` appends. Fails if the connection has ended.
    pub(super) fn push(
        &self,
        replies: usize,
        retry: RetryPolicy,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<oneshot::Receiver<Result<Bytes, NoReply>>, NoReply> {
        let (caller, receiver) = oneshot::channel();
        let mut unsent = self.lock();
        if unsent.ended {
            return Err(NoReply::NotSent);
        }
        let before = unsent.bytes.len();
        encode(&mut unsent.bytes);
        let length = unsent.bytes.len() - before;
        unsent.commands.push(PendingCommands {
            length,
            replies,
            retry,
            caller,
        });
        if unsent.commands.len() == 1 {
            self.filled.notify_one();
        }
        Ok(receiver)
    }

    /// Waits until there are commands.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes all commands whose callers still wait, with their bytes.
    pub(super) fn take(&self) -> (Vec<u8>, Vec<PendingCommands>) {
        let (bytes, commands) = {
            let mut unsent = self.lock();
            // The next round probably needs as much room as this one.
            let (bytes, commands) = (unsent.bytes.len(), unsent.commands.len());
            (
                std::mem::replace(&mut unsent.bytes, Vec::with_capacity(bytes)),
                std::mem::replace(&mut unsent.commands, Vec::with_capacity(commands)),
            )
        };
        if commands.iter().any(|commands| commands.caller.is_closed()) {
            return without_abandoned(&bytes, commands);
        }
        (bytes, commands)
    }

    /// Refuses commands from now on, and takes those that were never sent.
    pub(super) fn end(&self) -> Vec<PendingCommands> {
        let mut unsent = self.lock();
        unsent.ended = true;
        std::mem::take(&mut unsent.commands)
    }

    /// Nothing panics while it holds this lock.
    fn lock(&self) -> MutexGuard<'_, UnsentCommands> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The commands whose callers still wait, and their bytes.
fn without_abandoned(bytes: &[u8], mut commands: Vec<PendingCommands>) -> (Vec<u8>, Vec<PendingCommands>) {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut begin = 0;
    commands.retain(|commands| {
        let end = begin + commands.length;
        let waits = !commands.caller.is_closed();
        if waits {
            kept.extend_from_slice(&bytes[begin..end]);
        }
        begin = end;
        waits
    });
    (kept, commands)
}
