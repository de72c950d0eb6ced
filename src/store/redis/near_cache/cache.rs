//! The near cache: sessions in memory as Redis had them a moment ago, so that many gets need no request. Off by
//! default.
//!
//! A process that changes or ends a session publishes that on the channel `rs:cache`, and every subscriber drops the
//! session from its cache ([`invalidation`](super::invalidation)). Three rules keep stale sessions out:
//!
//! - **The lease.** The cache is used only while every invalidation up to one second ago is known to have arrived
//!   ([`lease`](super::lease)).
//! - **Tickets.** An invalidation may overtake a read of Redis, whose result must then not be cached. So a read takes
//!   a ticket before it is sent; a drop since then, or a lost lease, voids the ticket.
//! - **Local writes** drop a session before they are sent, and keep it out until they are answered
//!   ([`local_writes`](super::local_writes)): clients of this process alone never read a stale session.
//!
//! Cached records do not include buffered reads. These are in [`read_buffer`](super::super::read_buffer) and are added
//! here when they are written to Redis.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::unsync::Cache;

use crate::{
    observability::metrics::{Metrics, NearCacheCounters},
    session::{Record, Seconds},
    store::{
        Key,
        redis::near_cache::{lease::Lease, removals::Removals},
    },
};

/// The most stripes. Each has a lock, so that two requests rarely wait for the same one.
const STRIPES: usize = 64;
/// The least capacity of a stripe, in sessions: the smaller stripes are, the less evenly they fill.
const MIN_CAPACITY: usize = 64;

/// The cache.
pub(crate) struct NearCache {
    pub(super) stripes: Vec<Mutex<CacheStripe>>,
    /// How long a record may be answered after it was read.
    age: Duration,
    pub(super) lease: Lease,
    pub(super) removals: Removals,
    counters: NearCacheCounters,
}

/// A part of the sessions behind one lock.
pub(super) struct CacheStripe {
    pub(super) entries: Cache<Key, Entry>,
    /// How often sessions were dropped. Each drop voids all tickets, as it may concern their session.
    pub(super) drops: u64,
    /// Sessions that this process is changing, once for each change.
    pub(super) changing: Vec<Key>,
}

/// A cached session.
pub(super) struct Entry {
    pub(super) record: Record,
    /// When the read of Redis began.
    read: Instant,
}

/// The state before a read of Redis, which tells whether its result may be cached.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    term: u64,
    drops: u64,
    at: Instant,
}

impl NearCache {
    /// A cache of at most `sessions` sessions, at least 1.
    pub(crate) fn new(age: Duration, sessions: usize, metrics: &Metrics) -> Self {
        let count = (sessions / MIN_CAPACITY).clamp(1, STRIPES);
        let stripe = || CacheStripe {
            entries: Cache::new(sessions / count),
            drops: 0,
            changing: Vec::new(),
        };
        Self {
            stripes: (0..count).map(|_| Mutex::new(stripe())).collect(),
            age,
            lease: Lease::new(),
            removals: Removals::default(),
            counters: metrics.nearby(),
        }
    }

    pub(super) fn stripe(&self, key: &Key) -> MutexGuard<'_, CacheStripe> {
        // Tokens are random, so their last two characters spread well. On a cluster they begin with the shard.
        let [.., high, low] = key.token.as_bytes();
        let place = usize::from(*high) * 31 + usize::from(*low);
        lock(&self.stripes[place % self.stripes.len()])
    }

    /// A record that may be answered, if there is one. `usable` updates it and says whether it may be answered.
    pub(crate) fn find(&self, key: &Key, usable: impl FnOnce(&mut Record) -> bool) -> Option<Record> {
        let now = Instant::now();
        if !self.lease.holds(now) {
            self.counters.bypassed.inc();
            return None;
        }
        let mut stripe = self.stripe(key);
        let found = match stripe.entries.get(key) {
            Some(entry) if entry.is_fresh(now, self.age) => Some(entry.record.clone()),
            Some(_) => {
                stripe.entries.remove(key);
                None
            }
            None => None,
        };
        drop(stripe);
        let found = found.and_then(|mut record| usable(&mut record).then_some(record));
        match &found {
            Some(_) => self.counters.hits.inc(),
            None => self.counters.misses.inc(),
        }
        found
    }

    /// A ticket, taken before a session is read from Redis; `None` if the result may not be cached.
    pub(crate) fn ticket(&self, key: &Key) -> Option<Ticket> {
        let at = Instant::now();
        // Invariant: the term is read first, see `Lease::lose`.
        let term = self.lease.term();
        let drops = self.stripe(key).drops;
        self.lease.holds(at).then_some(Ticket { term, drops, at })
    }

    /// Caches a record that was read after the ticket was taken, unless it may be stale.
    pub(crate) fn keep(&self, key: Key, ticket: Ticket, record: Record) {
        let mut stripe = self.stripe(&key);
        // All checks are under the lock, so a later drop finds the entry.
        let void = ticket.term != self.lease.term()
            || ticket.drops != stripe.drops
            || stripe.changing.contains(&key)
            || self.removals.concern(&key, &record);
        // Of two concurrent reads the older one may arrive last; the newer one must stay.
        let newer = |entry: &Entry| entry.is_fresh(ticket.at, self.age) && entry.version() > version(&record);
        if !void && !stripe.entries.peek(&key).is_some_and(newer) {
            let read = ticket.at;
            stripe.entries.insert(key, Entry { record, read });
        }
    }

    /// Adds reads that were written to Redis.
    pub(crate) fn wrote(&self, key: &Key, reads: u64, last_active: Seconds) {
        if let Some(mut entry) = self.stripe(key).entries.peek_mut(key) {
            entry.record.reads += reads;
            entry.record.renew(last_active);
        }
    }

    /// Drops a session that was changed or has ended.
    pub(crate) fn forget(&self, key: &Key) {
        let mut stripe = self.stripe(key);
        stripe.entries.remove(key);
        stripe.drops += 1;
    }

    /// Drops all sessions and bypasses the cache until the lease is renewed, as an invalidation may have been missed.
    pub(crate) fn lose(&self) {
        self.lease.lose();
        for stripe in &self.stripes {
            lock(stripe).entries.clear();
        }
    }
}

impl Entry {
    fn is_fresh(&self, now: Instant, age: Duration) -> bool {
        now.saturating_duration_since(self.read) < age
    }

    pub(super) fn version(&self) -> (u64, u64, Seconds) {
        version(&self.record)
    }
}

/// Grows with each change of a session: a set counts in `w`, a get in `r`.
fn version(record: &Record) -> (u64, u64, Seconds) {
    (record.writes, record.reads, record.last_active)
}

/// A panic under the lock leaves the stripe whole: each change is a single step.
pub(super) fn lock(stripe: &Mutex<CacheStripe>) -> MutexGuard<'_, CacheStripe> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}
