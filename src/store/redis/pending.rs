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

mod note;
mod set;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

use self::note::{Note, Notes};
pub(super) use self::{note::Touch, set::Setting};
use super::near::{Near, Ticket};
use crate::{
    session::{Record, Seconds, Session},
    store::Key,
};

/// Each a lock, and a part of the sessions that is written apart from the others.
pub(super) const SHARDS: usize = 256;

/// The notes of one server.
pub(super) struct Pending {
    shards: Vec<Shard>,
    /// Whether a token says its own place: then all of a batch are in one shard of Redis, too.
    told: bool,
    /// Records that need no request, if they are wanted.
    near: Option<Arc<Near>>,
    /// Told whenever a batch has ended.
    ended: Notify,
}

struct Shard {
    notes: Mutex<Notes>,
    /// Batches of this shard that were written. Changes under the lock only.
    written: AtomicU64,
}

/// A moment, in batches: taken before a request for a session is sent.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    written: u64,
    /// Whether the record may be kept near.
    ticket: Option<Ticket>,
}

/// A moment in every shard.
pub(super) struct Marks(Vec<Mark>);

/// A session that was read.
pub(super) struct Read {
    /// As it was before.
    pub(super) session: Session,
    /// The last second at which it is alive, as far as Redis knows. That of a `no_resave` session never moves.
    pub(super) end: Option<Seconds>,
}

/// The reply may have the noted reads in it, or not.
pub(super) struct Unclear;

impl Pending {
    pub(super) fn new(told: bool, near: Option<Arc<Near>>) -> Self {
        let shard = || Shard {
            notes: Mutex::default(),
            written: AtomicU64::new(0),
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            told,
            near,
            ended: Notify::new(),
        }
    }

    fn place(&self, key: &Key) -> usize {
        if self.told {
            return key.token.shard().unwrap_or_default();
        }
        // Tokens that are written together are neighbours in the indexes, which Redis has at hand then.
        key.token.range(SHARDS)
    }

    /// The moment before a request for one session.
    pub(super) fn mark(&self, key: &Key) -> Mark {
        Mark {
            ticket: self.near.as_ref().and_then(|near| near.ticket(key)),
            ..self.shards[self.place(key)].mark()
        }
    }

    /// The moment before a request for sessions that only its reply will name.
    pub(super) fn marks(&self) -> Marks {
        Marks(self.shards.iter().map(Shard::mark).collect())
    }

    /// The moment of one session among many.
    pub(super) fn mark_of(&self, marks: &Marks, key: &Key) -> Mark {
        marks.0[self.place(key)]
    }

    /// Whether a batch that a session may have been in was written since.
    pub(super) fn moved(&self, key: &Key, marks: &Marks) -> bool {
        self.shards[self.place(key)].written.load(Ordering::Acquire) != self.mark_of(marks, key).written
    }

    /// Takes the notes into a record that was asked for at `mark`, and notes one more read; `None` if it has expired.
    pub(super) fn read(
        &self,
        key: &Key,
        mark: Mark,
        mut record: Record,
        now: Seconds,
    ) -> Result<Option<Read>, Unclear> {
        let mut notes = self.shards[self.place(key)].lock();
        let end = end(&record);
        self.take_in(&notes, key, mark, &mut record)?;
        Ok((!record.expired(now)).then(|| Read::note(&mut notes, key, &record, end, now)))
    }

    /// Takes the notes into a record that was asked for at `mark`.
    pub(super) fn look(&self, key: &Key, mark: Mark, record: &mut Record) -> Result<(), Unclear> {
        self.take_in(&self.shards[self.place(key)].lock(), key, mark, record)
    }

    /// The same as [`read`](Self::read) of a record nearby; `None` if there is none that may be answered.
    pub(super) fn read_near(&self, key: &Key, now: Seconds) -> Option<Read> {
        let near = self.near.as_ref()?;
        // Held until the end: a batch that ends moves reads from the notes to the record.
        let mut notes = self.shards[self.place(key)].lock();
        let mut known = None;
        let record = near.find(key, |record| {
            known = end(record);
            Note::take_in_if_any(&notes, key, record);
            !record.expired(now)
        })?;
        Some(Read::note(&mut notes, key, &record, known, now))
    }

    /// The same as [`look`](Self::look) of a record nearby, which is alive.
    pub(super) fn look_near(&self, key: &Key, now: Seconds) -> Option<Record> {
        let near = self.near.as_ref()?;
        let notes = self.shards[self.place(key)].lock();
        near.find(key, |record| {
            Note::take_in_if_any(&notes, key, record);
            !record.expired(now)
        })
    }

    /// Redis has no such session.
    pub(super) fn gone(&self, key: &Key) {
        if let Some(near) = &self.near {
            near.forget(key);
        }
    }

    fn take_in(&self, notes: &Notes, key: &Key, mark: Mark, record: &mut Record) -> Result<(), Unclear> {
        let written = self.shards[self.place(key)].written.load(Ordering::Acquire);
        if written != mark.written || notes.get(key).is_some_and(|note| note.writing) {
            return Err(Unclear);
        }
        if let (Some(near), Some(ticket)) = (&self.near, mark.ticket) {
            near.keep(*key, ticket, record.clone());
        }
        Note::take_in_if_any(notes, key, record);
        Ok(())
    }

    /// The second of the last noted read, 0 if there is none.
    pub(super) fn last_active(&self, key: &Key) -> Seconds {
        self.shards[self.place(key)]
            .lock()
            .get(key)
            .map_or(0, |note| note.last_active)
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

    /// The sessions of one shard that something is noted of and that are `wanted`, in the order of their tokens; not those with
    /// a set under way.
    pub(super) fn noted(&self, shard: usize, wanted: impl Fn(&Key) -> bool) -> Vec<Key> {
        let notes = self.shards[shard].lock();
        let waiting = notes
            .iter()
            .filter(|(key, note)| note.reads > 0 && note.sets == 0 && wanted(key));
        let mut keys: Vec<_> = waiting.map(|(key, _)| *key).collect();
        drop(notes);
        keys.sort_unstable_by_key(|key| key.token);
        keys
    }

    /// Begins a batch of some sessions of one shard. Those that are in another one are left over.
    pub(super) fn take(&self, shard: usize, keys: &[Key]) -> (Vec<Touch>, Vec<Key>) {
        let (mut batch, mut left) = (Vec::with_capacity(keys.len()), Vec::new());
        let mut notes = self.shards[shard].lock();
        for key in keys {
            match notes.get_mut(key) {
                Some(note) if note.free() => batch.push(note.take(*key)),
                Some(note) if note.writing => left.push(*key),
                _ => {}
            }
        }
        (batch, left)
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
            let Some(note) = notes.get_mut(&touch.key) else {
                continue;
            };
            note.writing = false;
            if written {
                // Reads of a record nearby may have been added meanwhile.
                note.reads -= touch.reads;
                if note.reads == 0 {
                    notes.remove(&touch.key);
                }
                if let Some(near) = &self.near {
                    near.wrote(&touch.key, touch.reads, touch.last_active);
                }
                shard.written.fetch_add(1, Ordering::Release);
            }
        }
        self.ended.notify_waiters();
    }
}

impl Shard {
    /// A panic under the lock leaves the notes whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self) -> Mark {
        Mark {
            written: self.written.load(Ordering::Acquire),
            ticket: None,
        }
    }
}

impl Read {
    /// Notes a read of a record that has all others in it. `end` is what Redis knows.
    fn note(notes: &mut Notes, key: &Key, record: &Record, end: Option<Seconds>, now: Seconds) -> Self {
        let session = record.view(now);
        let note = notes.entry(*key).or_default();
        note.reads += 1;
        note.last_active = note.last_active.max(now);
        Self { session, end }
    }
}

/// The end of a session that can be renewed.
fn end(record: &Record) -> Option<Seconds> {
    (!record.no_resave).then(|| record.end())
}
