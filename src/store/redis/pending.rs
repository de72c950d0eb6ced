//! Reads that Redis does not know of yet.
//!
//! What a get changes, `r` and `la`, is noted here and written a little later, for many sessions at once ([`touch`]); the
//! get itself is one plain read. Every answer of this process takes the notes in, so that none of its clients can tell.
//!
//! Taking `la` in twice does no harm. Reads must be counted once, so an answer has to know whether the reply that it is
//! made of has the noted ones in it already. As long as a batch is under way nobody knows: whoever read meanwhile reads
//! once more after it, and a set, which cannot be repeated, waits for the batch before and keeps the next one away.
//!
//! [`touch`]: super::touch

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    session::{Record, Seconds, Session},
    store::Key,
};

/// Each a lock, and a part of the sessions that is written apart from the others.
pub(super) const SHARDS: usize = 256;

/// Sessions in one batch: Redis serves nobody else for the third of a millisecond that it takes.
pub(super) const BATCH: usize = 50;

/// The notes of one server.
pub(super) struct Pending {
    shards: Vec<Shard>,
    /// Whether a token says its own place: then all of a batch are in one shard of Redis, too.
    told: bool,
    /// Told whenever a batch has ended.
    ended: Notify,
}

struct Shard {
    notes: Mutex<HashMap<Key, Note>>,
    /// Batches of this shard that were written. Changes under the lock only.
    written: AtomicU64,
}

#[derive(Default)]
struct Note {
    /// How many reads Redis does not know of.
    reads: u64,
    /// The second of the last one.
    last_active: Seconds,
    /// Sets under way.
    sets: u32,
    /// Whether a batch with these reads is under way.
    writing: bool,
}

/// What is to be written for one session.
pub(super) struct Touch {
    pub(super) key: Key,
    pub(super) reads: u64,
    pub(super) last_active: Seconds,
}

/// A moment, in batches: taken before a request for a session is sent.
#[derive(Clone, Copy)]
pub(super) struct Mark(u64);

/// A moment in every shard.
pub(super) struct Marks(Vec<Mark>);

/// The reply may have the noted reads in it, or not.
pub(super) struct Unclear;

impl Pending {
    pub(super) fn new(told: bool) -> Self {
        let shard = || Shard {
            notes: Mutex::default(),
            written: AtomicU64::new(0),
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            told,
            ended: Notify::new(),
        }
    }

    fn place(&self, key: &Key) -> usize {
        if self.told {
            return key.token.shard().unwrap_or_default();
        }
        // Tokens are random, so two of their characters spread well enough.
        let [.., high, low] = key.token.as_bytes();
        (usize::from(*high) * 31 + usize::from(*low)) % SHARDS
    }

    /// The moment before a request for one session.
    pub(super) fn mark(&self, key: &Key) -> Mark {
        self.shards[self.place(key)].mark()
    }

    /// The moment before a request for sessions that only its reply will name.
    pub(super) fn marks(&self) -> Marks {
        Marks(self.shards.iter().map(Shard::mark).collect())
    }

    /// The moment of one session among many.
    pub(super) fn mark_of(&self, marks: &Marks, key: &Key) -> Mark {
        marks.0[self.place(key)]
    }

    /// Takes the notes into a record that was asked for at `mark`, and notes one more read: answers the session as it was
    /// before; `None` if it has expired.
    pub(super) fn read(
        &self,
        key: &Key,
        mark: Mark,
        record: &mut Record,
        now: Seconds,
    ) -> Result<Option<Session>, Unclear> {
        let shard = &self.shards[self.place(key)];
        let mut notes = shard.lock();
        shard.take_in(&notes, key, mark, record)?;
        if record.expired(now) {
            return Ok(None);
        }
        let session = record.view(now);
        let note = notes.entry(*key).or_default();
        note.reads += 1;
        note.last_active = note.last_active.max(now);
        Ok(Some(session))
    }

    /// Takes the notes into a record that was asked for at `mark`.
    pub(super) fn look(&self, key: &Key, mark: Mark, record: &mut Record) -> Result<(), Unclear> {
        let shard = &self.shards[self.place(key)];
        shard.take_in(&shard.lock(), key, mark, record)
    }

    /// The second of the last noted read, 0 if there is none.
    pub(super) fn last_active(&self, key: &Key) -> Seconds {
        self.shards[self.place(key)]
            .lock()
            .get(key)
            .map_or(0, |note| note.last_active)
    }

    /// Begins a set: waits for the batch under way, and keeps the next one away for as long as the result lives.
    pub(super) async fn set(&self, key: Key) -> Setting<'_> {
        loop {
            let ended = self.ended.notified();
            {
                let mut notes = self.shards[self.place(&key)].lock();
                let note = notes.entry(key).or_default();
                if !note.writing {
                    note.sets += 1;
                    let last_active = note.last_active;
                    return Setting {
                        pending: self,
                        key,
                        last_active,
                    };
                }
            }
            ended.await;
        }
    }

    /// Waits until no batch with this session is under way.
    pub(super) async fn settled(&self, key: &Key) {
        loop {
            let ended = self.ended.notified();
            if !self.shards[self.place(key)]
                .lock()
                .get(key)
                .is_some_and(|note| note.writing)
            {
                return;
            }
            ended.await;
        }
    }

    /// Begins a batch of one shard, with sessions that are `wanted`; at most [`BATCH`].
    pub(super) fn take(&self, shard: usize, wanted: impl Fn(&Key) -> bool) -> Vec<Touch> {
        let mut notes = self.shards[shard].lock();
        let free = notes
            .iter_mut()
            .filter(|(key, note)| note.free() && wanted(key))
            .take(BATCH);
        free.map(|(key, note)| note.take(*key)).collect()
    }

    /// Begins a batch of one session; `None` if nothing is noted or nothing can be written now.
    pub(super) fn take_one(&self, key: &Key) -> Option<Touch> {
        let mut notes = self.shards[self.place(key)].lock();
        let note = notes.get_mut(key).filter(|note| note.free())?;
        Some(note.take(*key))
    }

    /// Ends a batch. One that was not written stays noted. Redis may have done it all the same, and will count those reads
    /// twice; but none is lost.
    pub(super) fn end(&self, batch: &[Touch], written: bool) {
        for touch in batch {
            let shard = &self.shards[self.place(&touch.key)];
            let mut notes = shard.lock();
            if written {
                // Nobody can have added to it meanwhile.
                notes.remove(&touch.key);
                shard.written.fetch_add(1, Ordering::Release);
            } else if let Some(note) = notes.get_mut(&touch.key) {
                note.writing = false;
            }
        }
        self.ended.notify_waiters();
    }

    /// Sessions of one shard that are `wanted` and in a batch under way.
    pub(super) fn under_way(&self, shard: usize, wanted: impl Fn(&Key) -> bool) -> Vec<Key> {
        let notes = self.shards[shard].lock();
        let writing = notes.iter().filter(|(key, note)| note.writing && wanted(key));
        writing.map(|(key, _)| *key).collect()
    }
}

impl Shard {
    /// A panic under the lock leaves the notes whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self) -> Mark {
        Mark(self.written.load(Ordering::Acquire))
    }

    fn take_in(&self, notes: &HashMap<Key, Note>, key: &Key, mark: Mark, record: &mut Record) -> Result<(), Unclear> {
        let note = notes.get(key);
        if self.written.load(Ordering::Acquire) != mark.0 || note.is_some_and(|note| note.writing) {
            return Err(Unclear);
        }
        if let Some(note) = note {
            note.take_in(record);
        }
        Ok(())
    }
}

impl Note {
    fn free(&self) -> bool {
        self.reads > 0 && self.sets == 0 && !self.writing
    }

    fn take(&mut self, key: Key) -> Touch {
        self.writing = true;
        Touch {
            key,
            reads: self.reads,
            last_active: self.last_active,
        }
    }

    fn take_in(&self, record: &mut Record) {
        record.reads += self.reads;
        record.touch(self.last_active);
    }
}

/// A set under way.
pub(super) struct Setting<'a> {
    pending: &'a Pending,
    key: Key,
    /// The second of the last noted read, 0 if there is none.
    pub(super) last_active: Seconds,
}

impl Setting<'_> {
    /// Takes the notes into the record that the set replied.
    pub(super) fn take_in(&self, record: &mut Record) {
        if let Some(note) = self.pending.shards[self.pending.place(&self.key)].lock().get(&self.key) {
            note.take_in(record);
        }
    }
}

impl Drop for Setting<'_> {
    fn drop(&mut self) {
        let mut notes = self.pending.shards[self.pending.place(&self.key)].lock();
        if let Some(note) = notes.get_mut(&self.key) {
            note.sets -= 1;
            if note.sets == 0 && note.reads == 0 {
                notes.remove(&self.key);
            }
        }
    }
}
