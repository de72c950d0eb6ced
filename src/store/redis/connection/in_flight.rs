//! Commands that were taken from the queue and whose replies have not arrived, in the order of their replies.

use std::{collections::VecDeque, io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{sync::oneshot, time::Instant};

use crate::store::redis::{
    connection::{
        queue::PendingCommands,
        retry::{NoReply, RetryPolicy},
        scanner::RespScanner,
        socket::error_in,
    },
    error::reason,
};

/// Commands of one caller.
struct SentCommands {
    /// The offset of their first byte in all that was taken from the queue.
    offset: u64,
    replies: usize,
    retry: RetryPolicy,
    /// When the connection is given up, and commands that may be retried stop waiting.
    doubtful_at: Instant,
    /// When all commands stop waiting.
    due_at: Instant,
    /// `None` once the caller was told that its reply is late, and for a ping. The reply still arrives before later
    /// ones.
    caller: Option<oneshot::Sender<Result<Bytes, NoReply>>>,
}

/// All commands in flight on one connection.
#[derive(Default)]
pub(super) struct InFlight {
    commands: VecDeque<SentCommands>,
    scanner: RespScanner,
    /// How many bytes were taken from the queue.
    taken: u64,
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Adds commands that are about to be sent, whose replies may take `timeout`.
    pub(super) fn add(&mut self, commands: Vec<PendingCommands>, timeout: Duration) {
        let now = Instant::now();
        let (doubtful_at, due_at) = (now + timeout / 2, now + timeout);
        for pending in commands {
            self.commands.push_back(SentCommands {
                offset: self.taken,
                replies: pending.replies,
                retry: pending.retry,
                doubtful_at,
                due_at,
                caller: Some(pending.caller),
            });
            self.taken += pending.length as u64;
        }
    }

    /// Adds a ping of so many bytes, whose reply is due at `due_at`.
    pub(super) fn add_ping(&mut self, length: usize, due_at: Instant) {
        self.commands.push_back(SentCommands {
            offset: self.taken,
            replies: 1,
            retry: RetryPolicy::Never,
            doubtful_at: due_at,
            due_at,
            caller: None,
        });
        self.taken += length as u64;
    }

    /// Hands the replies that have arrived whole to their callers. Says whether there were any.
    pub(super) fn deliver(&mut self, received: &mut BytesMut) -> io::Result<bool> {
        let mut delivered = false;
        while !received.is_empty() {
            let Some(first) = self.commands.front() else {
                // A server says so that it has too many clients, or is in protected mode.
                let error = error_in(&received.split().freeze());
                let said = error.map_or_else(|| "a reply to no command".to_owned(), |error| reason(&error));
                return Err(io::Error::other(said));
            };
            let Some(length) = self.scanner.replies(received, first.replies)? else {
                break;
            };
            let bytes = received.split_to(length).freeze();
            delivered = true;
            if let Some(caller) = self.commands.pop_front().and_then(|sent| sent.caller) {
                // A caller that gave up has dropped its receiver.
                let _ = caller.send(Ok(bytes));
            }
        }
        Ok(delivered)
    }

    /// Fails the commands that yield, as the connection was given up.
    pub(super) fn fail_yielding(&mut self) {
        for sent in self.commands.iter_mut().filter(|sent| sent.retry == RetryPolicy::Yield) {
            if let Some(caller) = sent.caller.take() {
                let _ = caller.send(Err(NoReply::Late));
            }
        }
    }

    /// Fails the commands that have waited long enough. Calls `doubtful` if there are any, or others that are half as
    /// late. Returns when to look again; `None` if no caller waits any more.
    pub(super) fn fail_late(&mut self, mut doubtful: impl FnMut()) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut wake = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        for sent in &mut self.commands {
            if sent.doubtful_at > now {
                // Later commands are doubtful later.
                wake(sent.doubtful_at);
                break;
            }
            doubtful();
            if sent.retry != RetryPolicy::Never || sent.due_at <= now {
                if let Some(caller) = sent.caller.take() {
                    let _ = caller.send(Err(NoReply::Late));
                }
            } else if sent.caller.is_some() {
                wake(sent.due_at);
            }
        }
        next
    }

    /// Fails all commands, as the connection has ended because of `error`. Those from the offset `written` on were not
    /// sent; `None` if that is not known.
    pub(super) fn fail_all(self, written: Option<u64>, error: &io::Error) {
        for sent in self.commands {
            let reason = match written {
                Some(written) if sent.offset >= written => NoReply::NotSent,
                _ => NoReply::Ended(io::Error::new(error.kind(), error.to_string()).into()),
            };
            if let Some(caller) = sent.caller {
                let _ = caller.send(Err(reason));
            }
        }
    }
}
