//! The near cache: sessions in memory as Redis had them a moment ago, so that a get need not ask. Off by default.
//!
//! Whoever changes or ends a session says so on the channel `rs:cache`, and who hears it drops the session here
//! ([`invalidation`](super::invalidation)). What may be answered hangs on three things:
//!
//! - **A lease.** Nothing is answered unless all that was said until a second ago has surely been heard ([`lease`](super::lease)).
//! - **Tickets.** A read of Redis may be overtaken by the word that its session has ended, and must not bring it back. So it
//!   takes a ticket before it is sent; a drop since then, or a lease that was lost, makes the ticket void.
//! - **Changes of our own** drop a session before they are sent, and keep it out until they are answered ([`local_writes`](super::local_writes)): for
//!   the clients of this process alone nothing is ever late.
//!
//! A record here is without the reads that Redis does not know of yet: they are noted in [`read_buffer`](super::super::read_buffer), and
//! added here at the moment at which they are written there.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::unsync::Cache;

use crate::{
    observability::metrics::{Metrics, Nearby},
    session::{Record, Seconds},
    store::{
        Key,
        redis::near_cache::{lease::Lease, removals::Removals},
    },
};

/// The most locks, so that two requests seldom want the same one.
const SHARDS: usize = 64;
/// The fewest sessions behind one lock: the fewer, the less evenly they fill.
const FEWEST: usize = 64;

/// The cache.
pub(crate) struct NearCache {
    pub(super) shards: Vec<Mutex<Shard>>,
    /// How long a record may be answered after it was read.
    age: Duration,
    pub(super) lease: Lease,
    pub(super) removals: Removals,
    counters: Nearby,
}

pub(super) struct Shard {
    pub(super) entries: Cache<Key, Entry>,
    /// How many times something was dropped. Any of them makes tickets void: it may have been about their session.
    pub(super) drops: u64,
    /// Sessions that this process is changing.
    pub(super) changing: Vec<Key>,
}

pub(super) struct Entry {
    pub(super) record: Record,
    /// When it was asked for.
    read: Instant,
}

/// The moment before a read of Redis.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    term: u64,
    drops: u64,
    at: Instant,
}

impl NearCache {
    /// A cache of at most so many sessions, at least 1.
    pub(crate) fn new(age: Duration, sessions: usize, metrics: &Metrics) -> Self {
        let count = (sessions / FEWEST).clamp(1, SHARDS);
        let shard = || Shard {
            entries: Cache::new(sessions / count),
            drops: 0,
            changing: Vec::new(),
        };
        Self {
            shards: (0..count).map(|_| Mutex::new(shard())).collect(),
            age,
            lease: Lease::new(),
            removals: Removals::default(),
            counters: metrics.nearby(),
        }
    }

    pub(super) fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        // Tokens are random, so two of their characters spread well enough. Their beginning may be a shard of Redis.
        let [.., high, low] = key.token.as_bytes();
        let place = usize::from(*high) * 31 + usize::from(*low);
        lock(&self.shards[place % self.shards.len()])
    }

    /// A record that may be answered, if there is one. `usable` brings it up to date and says whether it is of use.
    pub(crate) fn find(&self, key: &Key, usable: impl FnOnce(&mut Record) -> bool) -> Option<Record> {
        let now = Instant::now();
        if !self.lease.holds(now) {
            self.counters.bypassed.inc();
            return None;
        }
        let mut shard = self.shard(key);
        let found = match shard.entries.get(key) {
            Some(entry) if entry.is_fresh(now, self.age) => Some(entry.record.clone()),
            Some(_) => {
                shard.entries.remove(key);
                None
            }
            None => None,
        };
        drop(shard);
        let found = found.and_then(|mut record| usable(&mut record).then_some(record));
        match &found {
            Some(_) => self.counters.hits.inc(),
            None => self.counters.misses.inc(),
        }
        found
    }

    /// To be taken before a session is read; `None` if what is read cannot be kept.
    pub(crate) fn ticket(&self, key: &Key) -> Option<Ticket> {
        let at = Instant::now();
        // In this order: see `Lease::lose`.
        let term = self.lease.term();
        let drops = self.shard(key).drops;
        self.lease.holds(at).then_some(Ticket { term, drops, at })
    }

    /// Keeps what was read since the ticket was taken, unless it may be out of date.
    pub(crate) fn keep(&self, key: Key, ticket: Ticket, record: Record) {
        let mut shard = self.shard(&key);
        // All of it under the lock: whoever drops something later comes later.
        let void = ticket.term != self.lease.term()
            || ticket.drops != shard.drops
            || shard.changing.contains(&key)
            || self.removals.concern(&key, &record);
        // Of two reads side by side the older one may come last, and the other is answered already.
        let newer = |entry: &Entry| entry.is_fresh(ticket.at, self.age) && entry.version() > version(&record);
        if !void && !shard.entries.peek(&key).is_some_and(newer) {
            let read = ticket.at;
            shard.entries.insert(key, Entry { record, read });
        }
    }

    /// Notes that reads have been written to Redis.
    pub(crate) fn wrote(&self, key: &Key, reads: u64, last_active: Seconds) {
        if let Some(mut entry) = self.shard(key).entries.peek_mut(key) {
            entry.record.reads += reads;
            entry.record.renew(last_active);
        }
    }

    /// Drops a session that was changed or has ended.
    pub(crate) fn forget(&self, key: &Key) {
        let mut shard = self.shard(key);
        shard.entries.remove(key);
        shard.drops += 1;
    }

    /// Drops everything and answers nothing, until the lease is renewed: something may have been said that nobody heard.
    pub(crate) fn lose(&self) {
        self.lease.lose();
        for shard in &self.shards {
            lock(shard).entries.clear();
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

/// Of two records of one session, the later one has the greater. A set counts in `w`, a get in `r`.
fn version(record: &Record) -> (u64, u64, Seconds) {
    (record.writes, record.reads, record.last_active)
}

/// A panic under the lock leaves the shard whole: each change is a single step.
pub(super) fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
