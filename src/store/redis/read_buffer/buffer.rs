//! Buffers what gets change, until it is written to Redis.
//!
//! A get changes `r` and `la`. Both are buffered here and flushed a little later for many sessions at once
//! ([`flusher`](super::flusher)), so that the get itself is one plain read: 28 % more gets, and 5.5 µs of Redis' CPU
//! for each in place of 12.8 (BENCHMARKS.md). Every answer of this process includes the buffered reads, so its clients
//! notice nothing.
//!
//! Invariant: a read is counted once. So an answer has to know whether the reply that it is made of includes the
//! buffered reads. While a flush is in flight that is unknown: a get that overlaps it reads again ([`FlushRace`]), and
//! a set, which cannot be repeated, waits for the flush before and holds off the next one.
//!
//! Limit: `la` may be merged twice, which changes nothing.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

use crate::{
    session::{Record, Seconds, Session},
    store::{
        Key,
        redis::{
            near_cache::cache::{NearCache, Ticket},
            read_buffer::entry::{BufferedReads, Entries, Entry},
        },
    },
};

/// How many stripes the buffer has. Each has a lock, and is flushed on its own.
pub(crate) const SHARDS: usize = 256;

/// The buffered reads of all sessions.
pub(crate) struct ReadBuffer {
    pub(super) stripes: Vec<BufferStripe>,
    /// Whether a stripe is a shard of the cluster. Then each batch goes to one node.
    by_shard: bool,
    /// Records that need no request, if the near cache is on.
    near_cache: Option<Arc<NearCache>>,
    /// Notified whenever a batch has ended.
    pub(super) ended: Notify,
}

/// A part of the sessions behind one lock.
pub(super) struct BufferStripe {
    entries: Mutex<Entries>,
    /// How many sessions of batches were written. Invariant: changes only under the lock.
    written: AtomicU64,
}

/// The state of a stripe before a read of Redis is sent, which tells whether a flush overlapped the read.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    written: u64,
    /// The ticket with which the record may be cached.
    ticket: Option<Ticket>,
}

/// The marks of all stripes.
pub(crate) struct Marks(Vec<Mark>);

/// A session that was read.
pub(crate) struct BufferedRead {
    /// The session as it was before this read.
    pub(crate) session: Session,
    /// The last second at which the session is alive according to Redis; `None` if no read moves it (`no_resave`).
    pub(crate) end: Option<Seconds>,
}

/// A flush overlapped this read, so the reply may or may not include the buffered reads. Read again.
pub(crate) struct FlushRace;

impl ReadBuffer {
    pub(crate) fn new(by_shard: bool, near_cache: Option<Arc<NearCache>>) -> Self {
        let stripe = || BufferStripe {
            entries: Mutex::default(),
            written: AtomicU64::new(0),
        };
        Self {
            stripes: std::iter::repeat_with(stripe).take(SHARDS).collect(),
            by_shard,
            near_cache,
            ended: Notify::new(),
        }
    }

    pub(super) fn place(&self, key: &Key) -> usize {
        if self.by_shard {
            return key.token.shard().unwrap_or_default();
        }
        // Why a range of tokens: sessions of one batch are neighbours in the indexes, which costs Redis a quarter less
        // CPU.
        key.token.range(SHARDS)
    }

    /// The mark before a read of one session.
    pub(crate) fn mark(&self, key: &Key) -> Mark {
        Mark {
            ticket: self.near_cache.as_ref().and_then(|near| near.ticket(key)),
            ..self.stripes[self.place(key)].mark()
        }
    }

    /// The marks before a read of sessions that only its reply names.
    pub(crate) fn marks(&self) -> Marks {
        Marks(self.stripes.iter().map(BufferStripe::mark).collect())
    }

    /// The mark of one session.
    pub(crate) fn mark_of(&self, marks: &Marks, key: &Key) -> Mark {
        marks.0[self.place(key)]
    }

    /// Whether a batch that may have included the session was written since.
    pub(crate) fn flushed_since(&self, key: &Key, marks: &Marks) -> bool {
        self.stripes[self.place(key)].written.load(Ordering::Acquire) != self.mark_of(marks, key).written
    }

    /// Adds the buffered reads to a record that was read after `mark`, and buffers one more read; `None` if it has
    /// expired.
    pub(crate) fn read(
        &self,
        key: &Key,
        mark: Mark,
        mut record: Record,
        now: Seconds,
    ) -> Result<Option<BufferedRead>, FlushRace> {
        let mut entries = self.stripes[self.place(key)].lock();
        let end = end(&record);
        self.take_in(&entries, key, mark, &mut record)?;
        Ok((!record.expired(now)).then(|| BufferedRead::count(&mut entries, key, &record, end, now)))
    }

    /// Adds the buffered reads to a record that was read after `mark`.
    pub(crate) fn overlay(&self, key: &Key, mark: Mark, record: &mut Record) -> Result<(), FlushRace> {
        self.take_in(&self.stripes[self.place(key)].lock(), key, mark, record)
    }

    /// The same as [`read`](Self::read) of a cached record; `None` if none may be answered.
    pub(crate) fn read_cached(&self, key: &Key, now: Seconds) -> Option<BufferedRead> {
        let near = self.near_cache.as_ref()?;
        // Held until the end: the end of a batch moves reads from the buffer to the cached record.
        let mut entries = self.stripes[self.place(key)].lock();
        let mut known = None;
        let record = near.find(key, |record| {
            known = end(record);
            Entry::take_in_if_any(&entries, key, record);
            !record.expired(now)
        })?;
        Some(BufferedRead::count(&mut entries, key, &record, known, now))
    }

    /// The same as [`look`](Self::look) of a cached record; `None` if none may be answered or it has expired.
    pub(crate) fn look_cached(&self, key: &Key, now: Seconds) -> Option<Record> {
        let near = self.near_cache.as_ref()?;
        let entries = self.stripes[self.place(key)].lock();
        near.find(key, |record| {
            Entry::take_in_if_any(&entries, key, record);
            !record.expired(now)
        })
    }

    /// Drops a session that Redis does not have from the near cache.
    pub(crate) fn forget(&self, key: &Key) {
        if let Some(near) = &self.near_cache {
            near.forget(key);
        }
    }

    fn take_in(&self, entries: &Entries, key: &Key, mark: Mark, record: &mut Record) -> Result<(), FlushRace> {
        let written = self.stripes[self.place(key)].written.load(Ordering::Acquire);
        if written != mark.written || entries.get(key).is_some_and(|entry| entry.writing) {
            return Err(FlushRace);
        }
        if let (Some(near), Some(ticket)) = (&self.near_cache, mark.ticket) {
            near.keep(*key, ticket, record.clone());
        }
        Entry::take_in_if_any(entries, key, record);
        Ok(())
    }

    /// The second of the last buffered read, 0 if there is none.
    pub(crate) fn last_active(&self, key: &Key) -> Seconds {
        self.stripes[self.place(key)]
            .lock()
            .get(key)
            .map_or(0, |entry| entry.last_active)
    }

    /// Waits until no batch with this session is in flight.
    pub(crate) async fn wait_for_flush(&self, key: &Key) {
        loop {
            let ended = self.ended.notified();
            if !self.stripes[self.place(key)]
                .lock()
                .get(key)
                .is_some_and(|entry| entry.writing)
            {
                return;
            }
            ended.await;
        }
    }

    /// The `wanted` sessions of one stripe that have buffered reads, ordered by token. Leaves out sessions with a set
    /// in flight.
    pub(crate) fn noted(&self, stripe: usize, wanted: impl Fn(&Key) -> bool) -> Vec<Key> {
        let entries = self.stripes[stripe].lock();
        let waiting = entries
            .iter()
            .filter(|(key, entry)| entry.reads > 0 && entry.sets == 0 && wanted(key));
        let mut keys: Vec<_> = waiting.map(|(key, _)| *key).collect();
        drop(entries);
        keys.sort_unstable_by_key(|key| key.token);
        keys
    }

    /// Begins a batch of some sessions of one stripe. Also returns those that are in another batch in flight.
    pub(crate) fn take(&self, stripe: usize, keys: &[Key]) -> (Vec<BufferedReads>, Vec<Key>) {
        let (mut batch, mut left) = (Vec::with_capacity(keys.len()), Vec::new());
        let mut entries = self.stripes[stripe].lock();
        for key in keys {
            match entries.get_mut(key) {
                Some(entry) if entry.free() => batch.push(entry.take(*key)),
                Some(entry) if entry.writing => left.push(*key),
                _ => {}
            }
        }
        (batch, left)
    }

    /// Begins a batch of one session; `None` if it has no buffered reads, or another batch or a set is in flight.
    pub(crate) fn take_one(&self, key: &Key) -> Option<BufferedReads> {
        let mut entries = self.stripes[self.place(key)].lock();
        let entry = entries.get_mut(key).filter(|entry| entry.free())?;
        Some(entry.take(*key))
    }

    /// Ends a batch. Reads that were not written stay buffered. If Redis has applied them all the same, it counts them
    /// twice; no read is lost.
    pub(crate) fn end(&self, batch: &[BufferedReads], written: bool) {
        for reads in batch {
            let stripe = &self.stripes[self.place(&reads.key)];
            let mut entries = stripe.lock();
            let Some(entry) = entries.get_mut(&reads.key) else {
                continue;
            };
            entry.writing = false;
            if written {
                // Reads of the cached record may have been added meanwhile.
                entry.reads -= reads.reads;
                if entry.reads == 0 {
                    entries.remove(&reads.key);
                }
                if let Some(near) = &self.near_cache {
                    near.wrote(&reads.key, reads.reads, reads.last_active);
                }
                stripe.written.fetch_add(1, Ordering::Release);
            }
        }
        self.ended.notify_waiters();
    }
}

impl BufferStripe {
    /// A panic under the lock leaves the entries whole: each change is a single step.
    pub(super) fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self) -> Mark {
        Mark {
            written: self.written.load(Ordering::Acquire),
            ticket: None,
        }
    }
}

impl BufferedRead {
    /// Buffers a read of a record that includes all others. `end`: its end according to Redis.
    fn count(entries: &mut Entries, key: &Key, record: &Record, end: Option<Seconds>, now: Seconds) -> Self {
        let session = record.view(now);
        let entry = entries.entry(*key).or_default();
        entry.reads += 1;
        entry.last_active = entry.last_active.max(now);
        Self { session, end }
    }
}

/// The end of a session; `None` if reads do not move it.
fn end(record: &Record) -> Option<Seconds> {
    (!record.no_resave).then(|| record.end())
}
