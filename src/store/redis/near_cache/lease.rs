//! Until when the near cache may be used.
//!
//! A missing invalidation looks like silence: the network may be down, or Redis frozen. So a heartbeat command is sent
//! on the connection that is subscribed. Redis answers in order: once the reply is here, every invalidation from
//! before the heartbeat has arrived. That extends the lease to one second after the heartbeat was sent. A process that
//! was stopped finds its lease expired when it continues.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a heartbeat extends the lease: the longest time for which an ended session may be answered, whatever fails.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// The lease.
pub(crate) struct Lease {
    start: Instant,
    /// When it expires, in microseconds since the start; 0: it is lost.
    until: AtomicU64,
    /// How often it was lost.
    term: AtomicU64,
    /// Serialises changes.
    changing: Mutex<()>,
}

impl Lease {
    /// A lease that is lost.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            until: AtomicU64::new(0),
            term: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }

    /// Whether it has not expired.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.micros(now) < self.until.load(Ordering::Acquire)
    }

    /// A number that changes whenever the lease is lost.
    pub(crate) fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// Extends the lease after a heartbeat that was sent at `asked` in this term.
    pub(crate) fn renew(&self, asked: Instant, term: u64) {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.term() == term {
            self.until.store(self.micros(asked + LEASE), Ordering::Release);
        }
    }

    /// Ends the lease, as an invalidation may have been missed.
    pub(crate) fn lose(&self) {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // Invariant: a thread that sees the new term also sees that the lease is lost, so no ticket of a new term is
        // taken before its lease.
        self.until.store(0, Ordering::Release);
        self.term.fetch_add(1, Ordering::AcqRel);
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }
}
