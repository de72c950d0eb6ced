//! The loop of the writer thread: takes orders, fills commit batches, and writes buffered reads in even parts.

use std::{
    collections::VecDeque,
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use super::{
    batch::CommitBatch,
    change::{QueuedChange, Reply},
    queue::{Inbox, Order},
    recovery::Recovery,
};
use crate::store::{Error, Key, embedded::cache::Cache};

/// Longest time for which counted reads and last activity stay in memory only.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Number of parts in which they are written, evenly spread. Why: gets would wait for one large commit.
const FLUSH_PARTS: u32 = 32;
/// Most changes in a commit batch: enough to share an fsync, few enough that the first one does not wait long.
const MAX_CHANGES: usize = 512;
/// Upper bound on buffered reads added to one commit; they share its fsync.
const MAX_FLUSHED: usize = 1024;
/// Buffered reads added even to a full batch. Why: under a steady load of changes they would never be written.
const MIN_FLUSHED: usize = 16;

/// Why the loop has ended.
pub(super) enum Exit {
    /// It was told to close.
    Closed,
    /// The engine could not be opened again.
    GivenUp,
}

/// The state of the loop.
pub(super) struct Worker<'a> {
    cache: &'a Cache,
    /// Dirty sessions to write, oldest request first.
    dirty: VecDeque<Key>,
    /// How many have left that queue since the start, so that a flush knows when its own have.
    written: usize,
    /// Requests that wait until that count is reached.
    flushes: VecDeque<(usize, Reply<()>)>,
    next_flush: Instant,
    part: u32,
    recovery: Recovery,
    closing: bool,
}

impl<'a> Worker<'a> {
    pub(super) fn new(cache: &'a Cache, recovery: Recovery) -> Self {
        Self {
            cache,
            dirty: VecDeque::new(),
            written: 0,
            flushes: VecDeque::new(),
            next_flush: Instant::now() + FLUSH_INTERVAL / FLUSH_PARTS,
            part: 0,
            recovery,
            closing: false,
        }
    }

    pub(super) fn run(mut self, inbox: &Inbox) -> Exit {
        // After a panic, the engine is to be opened again at once.
        self.recovery.poll(self.cache);
        while !(self.closing && self.dirty.is_empty()) {
            let idle = self.dirty.is_empty() && self.flushes.is_empty();
            let wait = self.next_flush.saturating_duration_since(Instant::now());
            let first = match inbox.next(if idle { wait } else { Duration::ZERO }) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    self.close();
                    None
                }
            };
            if !self.collect_due_parts() {
                return Exit::GivenUp;
            }
            self.commit(first.into_iter().chain(inbox.ready()).take(MAX_CHANGES));
        }
        Exit::Closed
    }

    /// Queues the parts of the dirty sessions whose time has come. False if the engine is given up.
    fn collect_due_parts(&mut self) -> bool {
        let now = Instant::now();
        // A slow commit may have delayed several parts. Each is queued once, however late it is.
        self.next_flush = self.next_flush.max(now.checked_sub(FLUSH_INTERVAL).unwrap_or(now));
        while self.next_flush <= now {
            self.next_flush += FLUSH_INTERVAL / FLUSH_PARTS;
            self.collect(self.part, FLUSH_PARTS);
            self.part = (self.part + 1) % FLUSH_PARTS;
            if self.part == 0 {
                if !self.recovery.poll(self.cache) {
                    return false;
                }
                self.cache.trackers.expire_idle();
            }
        }
        true
    }

    fn close(&mut self) {
        self.closing = true;
        self.collect(0, 1);
    }

    /// Queues the n-th of `parts` even parts of the dirty sessions.
    fn collect(&mut self, part: u32, parts: u32) {
        let mut dirty = self.cache.dirty(part, parts);
        // In the order of the keyspace: neighbours share blocks.
        dirty.sort_unstable_by_key(|key| key.token);
        self.dirty.extend(dirty);
    }

    /// Applies orders, adds buffered reads, commits, and answers.
    fn commit(&mut self, orders: impl Iterator<Item = Order>) {
        let mut applied = Vec::new();
        let (outcome, written) = match self.recovery.batch(self.cache) {
            Ok(batch) => self.fill(batch, orders, &mut applied),
            Err(refused) => {
                for order in orders {
                    self.refuse(order, &refused);
                }
                (Err(refused), self.dirty.drain(..).count())
            }
        };
        if outcome.is_err() {
            self.recovery.begin(self.cache);
        }
        self.written += written;
        for change in applied {
            change.answer(outcome.clone());
        }
        while self.flushes.front().is_some_and(|(until, _)| *until <= self.written) {
            if let Some((_, reply)) = self.flushes.pop_front() {
                // The request may have been cancelled meanwhile.
                let _ = reply.send(outcome.clone());
            }
        }
    }

    /// Fills a batch and commits it. Says how the commit went, and how many dirty sessions were taken from their queue.
    fn fill(
        &mut self,
        mut batch: CommitBatch<'_>,
        mut orders: impl Iterator<Item = Order>,
        applied: &mut Vec<Box<dyn QueuedChange>>,
    ) -> (Result<(), Error>, usize) {
        while !batch.full()
            && let Some(order) = orders.next()
        {
            match order {
                // With a slow disk, abandoned changes would delay the others, and an abandoned create would leave a
                // session whose token no client has.
                Order::Change(change) if change.abandoned() => {}
                Order::Change(mut change) => {
                    change.apply(&mut batch);
                    applied.push(change);
                }
                Order::Flush(reply) if reply.is_closed() => {}
                Order::Flush(reply) => {
                    self.collect(0, 1);
                    self.await_flush(reply);
                }
                Order::Close(reply) => {
                    self.close();
                    self.await_flush(reply);
                }
            }
        }
        let mut flushed = 0;
        while flushed < MAX_FLUSHED
            && (flushed < MIN_FLUSHED || !batch.full())
            && let Some(key) = self.dirty.pop_front()
        {
            batch.flush(key);
            flushed += 1;
        }
        (batch.commit(), flushed)
    }

    /// Answers an order while the engine takes no changes.
    fn refuse(&mut self, order: Order, why: &Error) {
        match order {
            Order::Change(change) => change.answer(Err(why.clone())),
            Order::Flush(reply) => drop(reply.send(Err(why.clone()))),
            Order::Close(reply) => {
                self.close();
                self.await_flush(reply);
            }
        }
    }

    /// Answers once every session that is queued now has been written.
    fn await_flush(&mut self, reply: Reply<()>) {
        self.flushes.push_back((self.written + self.dirty.len(), reply));
    }
}
