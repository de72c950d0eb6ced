//! Until when the near cache may be relied on.
//!
//! A message says nothing by not coming: the network may be gone, or Redis frozen. So Redis is asked for a sign of life on
//! the connection on which the messages come, and answers in order: once the answer is here, everything is that was said
//! before the question. That is good for a second. A process that was stopped finds its lease run out when it goes on.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a sign of life is good for. The longest time for which an ended session may be answered, whatever the network
/// does.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

pub(crate) struct Lease {
    start: Instant,
    /// When it ends, in microseconds since the start; 0: it is lost.
    until: AtomicU64,
    /// How many times it was lost.
    term: AtomicU64,
    /// Held by who changes it.
    changing: Mutex<()>,
}

impl Lease {
    /// One that is lost.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            until: AtomicU64::new(0),
            term: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }

    /// Whether it has not run out.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.micros(now) < self.until.load(Ordering::Acquire)
    }

    /// What changes whenever it is lost.
    pub(crate) fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// A sign of life that was asked for at `asked`, in this term.
    pub(crate) fn renew(&self, asked: Instant, term: u64) {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.term() == term {
            self.until.store(self.micros(asked + LEASE), Ordering::Release);
        }
    }

    /// Something may not have been heard.
    pub(crate) fn lose(&self) {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // In this order: who sees the new term sees that it is lost, and nobody takes a ticket of a term that has not begun.
        self.until.store(0, Ordering::Release);
        self.term.fetch_add(1, Ordering::AcqRel);
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }
}
