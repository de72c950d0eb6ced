//! Records in memory: those whose reads are not on disk yet, and a bounded cache of others.
//!
//! A get changes a session (`r`, `la`), but may be a second late on disk. So it happens here alone, and the writer
//! collects what changed. Each shard is one lock around a short piece of work, a miss's point read from the engine
//! included (a few microseconds from the page cache, less than handing it to another thread). Under that lock the
//! memory of a session always agrees with its disk and the gets since; nothing that was removed can slip back in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;
use quick_cache::{Weighter, unsync};

use super::{activity::Watches, disk::Disk, rows::Stored};
use crate::{
    session::{App, Seconds, Session},
    store::Error,
    store::Key,
};

/// Locks, so that two requests seldom want the same one.
const SHARDS: usize = 64;

/// The records in memory, over the disk that they come from.
#[derive(Debug)]
pub(super) struct Cache {
    shards: Vec<Mutex<Shard>>,
    pub(super) disk: Arc<Disk>,
    /// Told of gets here, under the lock of their shard, and of what the writer has committed.
    pub(super) watches: Watches,
}

/// A session is in one of the two maps at most.
#[derive(Debug)]
struct Shard {
    /// Read since the writer last came by: newer than the disk, so never evicted.
    dirty: HashMap<Key, Stored, RandomState>,
    /// The same as on disk, evicted at will.
    clean: unsync::Cache<Key, Stored, Weight>,
}

/// The memory that a record takes, in bytes, roughly.
#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Stored> for Weight {
    fn weight(&self, _: &Key, stored: &Stored) -> u64 {
        // The entry itself, two reference counts, and the bookkeeping of the map and the allocator.
        const FIXED: usize = size_of::<Key>() + size_of::<Stored>() + 120;
        let record = &stored.record;
        let data = record.data.as_ref().map_or(0, |data| data.as_str().len());
        (FIXED + record.id.as_str().len() + record.ip.as_str().len() + data) as u64
    }
}

/// How a dirty session went to disk; compared with how it is then.
pub(super) struct Flushed {
    pub(super) key: Key,
    pub(super) stored: Stored,
}

impl Cache {
    /// A cache of about `capacity` bytes.
    pub(super) fn new(disk: Arc<Disk>, capacity: u64, watches: Watches) -> Self {
        let each = capacity / SHARDS as u64;
        let items = usize::try_from(each / 400).unwrap_or(usize::MAX).max(1);
        let shard = || Shard {
            dirty: HashMap::default(),
            clean: unsync::Cache::with_weighter(items, each, Weight),
        };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            disk,
            watches,
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        // What is written together are neighbours on the disk, which the engine has at hand then.
        lock(&self.shards[key.token.range(SHARDS)])
    }

    /// A read that counts: answers the session as it was, then adds to `r` and moves `la`.
    pub(super) fn get(&self, key: Key, now: Seconds) -> Result<Option<Session>, Error> {
        self.there()?;
        let mut shard = self.shard(&key);
        let shard = &mut *shard;
        if let Some(stored) = shard.dirty.get_mut(&key) {
            return Ok(self.read(key.app, stored, now));
        }
        let found = match shard.clean.remove(&key) {
            Some((_, stored)) => Some(stored),
            None => self.disk.load(&key)?,
        };
        let Some(mut stored) = found else {
            return Ok(None);
        };
        let session = self.read(key.app, &mut stored, now);
        if session.is_some() {
            shard.dirty.insert(key, stored);
        } else {
            shard.clean.insert(key, stored);
        }
        Ok(session)
    }

    /// Fails if the data folder has left its place: what is in memory is not what a service there would answer.
    fn there(&self) -> Result<(), Error> {
        if self.disk.gone() {
            return Err(Error::Unavailable);
        }
        Ok(())
    }

    fn read(&self, app: App, stored: &mut Stored, now: Seconds) -> Option<Session> {
        let record = &mut stored.record;
        if record.expired(now) {
            return None;
        }
        let session = record.view(now);
        record.reads += 1;
        if record.last_active < now {
            record.renew(now);
            self.watches.note(app, &record.id, now);
        }
        Some(session)
    }

    /// The session as it is, without counting a read.
    pub(super) fn peek(&self, key: &Key) -> Result<Option<Stored>, Error> {
        self.there()?;
        let shard = self.shard(key);
        match shard.dirty.get(key).or_else(|| shard.clean.peek(key)) {
            Some(stored) => Ok(Some(stored.clone())),
            None => self.disk.load(key),
        }
    }

    /// The second of a session's last activity, unless it has expired: [`Self::peek`] without the record.
    pub(super) fn last_active(&self, key: &Key, now: Seconds) -> Result<Option<Seconds>, Error> {
        let shard = self.shard(key);
        if let Some(stored) = shard.dirty.get(key).or_else(|| shard.clean.peek(key)) {
            let record = &stored.record;
            return Ok((!record.expired(now)).then_some(record.last_active));
        }
        self.disk.last_active(key, now)
    }

    /// Takes over what the writer has committed: a changed session, or its absence. Gets may have come between the
    /// writer's look at the session and its commit; what they counted stays.
    pub(super) fn apply(&self, key: Key, committed: Option<Stored>) {
        let mut shard = self.shard(&key);
        let Some(new) = committed else {
            shard.dirty.remove(&key);
            shard.clean.remove(&key);
            return;
        };
        let merge = |old: &mut Stored| {
            old.active = new.active;
            old.record.data.clone_from(&new.record.data);
            old.record.writes = new.record.writes;
            old.record.renew(new.record.last_active);
        };
        if let Some(old) = shard.dirty.get_mut(&key) {
            merge(old);
        } else {
            shard.clean.insert(key, new);
        }
    }

    /// Agrees with a disk that was opened again. A change that failed may be there after all; the reads that were not written
    /// stay, unless their session is gone. Watches begin anew.
    pub(super) fn agree(&self) -> Result<(), Error> {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.clean.clear();
            let mut gone = Vec::new();
            for (key, stored) in &mut shard.dirty {
                match self.disk.load_again(key)? {
                    Some(mut disk) => {
                        disk.record.reads = disk.record.reads.max(stored.record.reads);
                        disk.record.renew(stored.record.last_active);
                        *stored = disk;
                    }
                    None => gone.push(*key),
                }
            }
            for key in gone {
                shard.dirty.remove(&key);
            }
        }
        self.watches.forget();
        self.disk.found();
        Ok(())
    }

    /// The keys of the sessions that the disk is behind of, in the n-th of some even parts.
    pub(super) fn dirty(&self, part: u32, parts: u32) -> Vec<Key> {
        let begin = |part: u32| SHARDS * part as usize / parts as usize;
        self.shards[begin(part)..begin(part + 1)]
            .iter()
            .flat_map(|shard| lock(shard).dirty.keys().copied().collect::<Vec<_>>())
            .collect()
    }

    /// A dirty session as it is now, to be written.
    pub(super) fn dirty_copy(&self, key: &Key) -> Option<Stored> {
        self.shard(key).dirty.get(key).cloned()
    }

    /// A dirty session has been written: it is clean, unless it was read again since.
    pub(super) fn settle(&self, flushed: Flushed) {
        let Flushed { key, stored } = flushed;
        let mut shard = self.shard(&key);
        let Some(now) = shard.dirty.get_mut(&key) else {
            return;
        };
        now.active = stored.active;
        if now.record.reads == stored.record.reads
            && let Some(clean) = shard.dirty.remove(&key)
        {
            shard.clean.insert(key, clean);
        }
    }
}

/// A panic under a lock leaves a shard whole: each change is a single insertion or removal.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
