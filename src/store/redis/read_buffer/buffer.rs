//! Reads that Redis does not know of yet.
//!
//! What a get changes, `r` and `la`, is noted here and written a little later, for many sessions at once ([`touch`]); the
//! get itself is one plain read. Every answer of this process takes the entries in, so that none of its clients can tell.
//!
//! Taking `la` in twice does no harm. Reads must be counted once, so an answer has to know whether the reply that it is
//! made of has the noted ones in it already. As long as a batch is under way nobody knows: whoever read meanwhile reads
//! once more after it, and a set, which cannot be repeated, waits for the batch before and keeps the next one away.
//!
//! [`touch`]: super::flusher

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

/// Each a lock, and a part of the sessions that is written apart from the others.
pub(crate) const SHARDS: usize = 256;

/// The entries of one server.
pub(crate) struct ReadBuffer {
    pub(super) shards: Vec<Shard>,
    /// Whether a token says its own place: then all of a batch are in one shard of Redis, too.
    told: bool,
    /// Records that need no request, if they are wanted.
    near_cache: Option<Arc<NearCache>>,
    /// Told whenever a batch has ended.
    pub(super) ended: Notify,
}

pub(super) struct Shard {
    entries: Mutex<Entries>,
    /// Batches of this shard that were written. Changes under the lock only.
    written: AtomicU64,
}

/// A moment, in batches: taken before a request for a session is sent.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    written: u64,
    /// Whether the record may be kept near.
    ticket: Option<Ticket>,
}

/// A moment in every shard.
pub(crate) struct Marks(Vec<Mark>);

/// A session that was read.
pub(crate) struct BufferedRead {
    /// As it was before.
    pub(crate) session: Session,
    /// The last second at which it is alive, as far as Redis knows. That of a `no_resave` session never moves.
    pub(crate) end: Option<Seconds>,
}

/// The reply may have the noted reads in it, or not.
pub(crate) struct FlushRace;

impl ReadBuffer {
    pub(crate) fn new(told: bool, near: Option<Arc<NearCache>>) -> Self {
        let shard = || Shard {
            entries: Mutex::default(),
            written: AtomicU64::new(0),
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            told,
            near_cache: near,
            ended: Notify::new(),
        }
    }

    pub(super) fn place(&self, key: &Key) -> usize {
        if self.told {
            return key.token.shard().unwrap_or_default();
        }
        // Tokens that are written together are neighbours in the indexes, which Redis has at hand then.
        key.token.range(SHARDS)
    }

    /// The moment before a request for one session.
    pub(crate) fn mark(&self, key: &Key) -> Mark {
        Mark {
            ticket: self.near_cache.as_ref().and_then(|near| near.ticket(key)),
            ..self.shards[self.place(key)].mark()
        }
    }

    /// The moment before a request for sessions that only its reply will name.
    pub(crate) fn marks(&self) -> Marks {
        Marks(self.shards.iter().map(Shard::mark).collect())
    }

    /// The moment of one session among many.
    pub(crate) fn mark_of(&self, marks: &Marks, key: &Key) -> Mark {
        marks.0[self.place(key)]
    }

    /// Whether a batch that a session may have been in was written since.
    pub(crate) fn flushed_since(&self, key: &Key, marks: &Marks) -> bool {
        self.shards[self.place(key)].written.load(Ordering::Acquire) != self.mark_of(marks, key).written
    }

    /// Takes the entries into a record that was asked for at `mark`, and entries one more read; `None` if it has expired.
    pub(crate) fn read(
        &self,
        key: &Key,
        mark: Mark,
        mut record: Record,
        now: Seconds,
    ) -> Result<Option<BufferedRead>, FlushRace> {
        let mut entries = self.shards[self.place(key)].lock();
        let end = end(&record);
        self.take_in(&entries, key, mark, &mut record)?;
        Ok((!record.expired(now)).then(|| BufferedRead::count(&mut entries, key, &record, end, now)))
    }

    /// Takes the entries into a record that was asked for at `mark`.
    pub(crate) fn look(&self, key: &Key, mark: Mark, record: &mut Record) -> Result<(), FlushRace> {
        self.take_in(&self.shards[self.place(key)].lock(), key, mark, record)
    }

    /// The same as [`read`](Self::read) of a record nearby; `None` if there is none that may be answered.
    pub(crate) fn read_cached(&self, key: &Key, now: Seconds) -> Option<BufferedRead> {
        let near = self.near_cache.as_ref()?;
        // Held until the end: a batch that ends moves reads from the entries to the record.
        let mut entries = self.shards[self.place(key)].lock();
        let mut known = None;
        let record = near.find(key, |record| {
            known = end(record);
            Entry::take_in_if_any(&entries, key, record);
            !record.expired(now)
        })?;
        Some(BufferedRead::count(&mut entries, key, &record, known, now))
    }

    /// The same as [`look`](Self::look) of a record nearby, which is alive.
    pub(crate) fn look_cached(&self, key: &Key, now: Seconds) -> Option<Record> {
        let near = self.near_cache.as_ref()?;
        let entries = self.shards[self.place(key)].lock();
        near.find(key, |record| {
            Entry::take_in_if_any(&entries, key, record);
            !record.expired(now)
        })
    }

    /// Redis has no such session.
    pub(crate) fn forget(&self, key: &Key) {
        if let Some(near) = &self.near_cache {
            near.forget(key);
        }
    }

    fn take_in(&self, entries: &Entries, key: &Key, mark: Mark, record: &mut Record) -> Result<(), FlushRace> {
        let written = self.shards[self.place(key)].written.load(Ordering::Acquire);
        if written != mark.written || entries.get(key).is_some_and(|entry| entry.writing) {
            return Err(FlushRace);
        }
        if let (Some(near), Some(ticket)) = (&self.near_cache, mark.ticket) {
            near.keep(*key, ticket, record.clone());
        }
        Entry::take_in_if_any(entries, key, record);
        Ok(())
    }

    /// The second of the last noted read, 0 if there is none.
    pub(crate) fn last_active(&self, key: &Key) -> Seconds {
        self.shards[self.place(key)]
            .lock()
            .get(key)
            .map_or(0, |entry| entry.last_active)
    }

    /// Waits until no batch with this session is under way.
    pub(crate) async fn wait_for_flush(&self, key: &Key) {
        loop {
            let ended = self.ended.notified();
            if !self.shards[self.place(key)]
                .lock()
                .get(key)
                .is_some_and(|entry| entry.writing)
            {
                return;
            }
            ended.await;
        }
    }

    /// The sessions of one shard that something is noted of and that are `wanted`, in the order of their tokens; not those with
    /// a set under way.
    pub(crate) fn noted(&self, shard: usize, wanted: impl Fn(&Key) -> bool) -> Vec<Key> {
        let entries = self.shards[shard].lock();
        let waiting = entries
            .iter()
            .filter(|(key, entry)| entry.reads > 0 && entry.sets == 0 && wanted(key));
        let mut keys: Vec<_> = waiting.map(|(key, _)| *key).collect();
        drop(entries);
        keys.sort_unstable_by_key(|key| key.token);
        keys
    }

    /// Begins a batch of some sessions of one shard. Those that are in another one are left over.
    pub(crate) fn take(&self, shard: usize, keys: &[Key]) -> (Vec<BufferedReads>, Vec<Key>) {
        let (mut batch, mut left) = (Vec::with_capacity(keys.len()), Vec::new());
        let mut entries = self.shards[shard].lock();
        for key in keys {
            match entries.get_mut(key) {
                Some(entry) if entry.free() => batch.push(entry.take(*key)),
                Some(entry) if entry.writing => left.push(*key),
                _ => {}
            }
        }
        (batch, left)
    }

    /// Begins a batch of one session; `None` if nothing is noted or nothing can be written now.
    pub(crate) fn take_one(&self, key: &Key) -> Option<BufferedReads> {
        let mut entries = self.shards[self.place(key)].lock();
        let entry = entries.get_mut(key).filter(|entry| entry.free())?;
        Some(entry.take(*key))
    }

    /// Ends a batch. One that was not written stays noted. Redis may have done it all the same, and will count those reads
    /// twice; but none is lost.
    pub(crate) fn end(&self, batch: &[BufferedReads], written: bool) {
        for touch in batch {
            let shard = &self.shards[self.place(&touch.key)];
            let mut entries = shard.lock();
            let Some(entry) = entries.get_mut(&touch.key) else {
                continue;
            };
            entry.writing = false;
            if written {
                // Reads of a record nearby may have been added meanwhile.
                entry.reads -= touch.reads;
                if entry.reads == 0 {
                    entries.remove(&touch.key);
                }
                if let Some(near) = &self.near_cache {
                    near.wrote(&touch.key, touch.reads, touch.last_active);
                }
                shard.written.fetch_add(1, Ordering::Release);
            }
        }
        self.ended.notify_waiters();
    }
}

impl Shard {
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
    /// Entries a read of a record that has all others in it. `end` is what Redis knows.
    fn count(entries: &mut Entries, key: &Key, record: &Record, end: Option<Seconds>, now: Seconds) -> Self {
        let session = record.view(now);
        let entry = entries.entry(*key).or_default();
        entry.reads += 1;
        entry.last_active = entry.last_active.max(now);
        Self { session, end }
    }
}

/// The end of a session that can be renewed.
fn end(record: &Record) -> Option<Seconds> {
    (!record.no_resave).then(|| record.end())
}
