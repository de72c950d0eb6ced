//! Records in memory: dirty ones, whose reads are not on disk yet, and a bounded cache of clean ones.
//!
//! A get changes a session (`r`, `la`) in memory only; the writer collects dirty records and commits them within a second.
//! Each shard is one lock around a short piece of work. That includes the point read of a miss: a few microseconds from the
//! page cache, less than handing it to another thread.
//!
//! Invariant: under the lock of its shard, a record in memory is the one on disk with the gets since. A removed session
//! cannot come back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;
use quick_cache::{Weighter, unsync};

use super::{activity::Trackers, codec::Stored, engine::EngineHandle};
use crate::{
    session::{App, Seconds, Session},
    store::Error,
    store::Key,
};

/// The number of shards, so that two requests seldom contend for one lock.
const SHARDS: usize = 64;

/// The records in memory, in front of the engine.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: Vec<Mutex<Shard>>,
    pub(crate) disk: Arc<EngineHandle>,
    /// Take events from gets, under the lock of their shard, and from the writer's commits.
    pub(crate) trackers: Trackers,
}

/// Invariant: a key is in `dirty` or in `clean`, never in both.
#[derive(Debug)]
struct Shard {
    /// Read since the writer last collected them: newer than the disk, so never evicted.
    dirty: HashMap<Key, Stored, RandomState>,
    /// The same as on disk, so any of them may be evicted.
    clean: unsync::Cache<Key, Stored, Weight>,
}

/// About the memory that a record takes, in bytes.
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

/// A dirty record as it was written to disk, to be compared with the one in memory.
pub(crate) struct Flushed {
    pub(crate) key: Key,
    pub(crate) stored: Stored,
}

impl Cache {
    /// A cache of about `capacity` bytes.
    pub(crate) fn new(disk: Arc<EngineHandle>, capacity: u64, trackers: Trackers) -> Self {
        let each = capacity / SHARDS as u64;
        let items = usize::try_from(each / 400).unwrap_or(usize::MAX).max(1);
        let shard = || Shard {
            dirty: HashMap::default(),
            clean: unsync::Cache::with_weighter(items, each, Weight),
        };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            disk,
            trackers,
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        // By the order of tokens: records that are written together are neighbours on disk, in the same cached blocks.
        lock(&self.shards[key.token.range(SHARDS)])
    }

    /// Answers the session as it was before this read, then counts the read in `r` and renews `la`.
    pub(crate) fn get(&self, key: Key, now: Seconds) -> Result<Option<Session>, Error> {
        self.check_present()?;
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

    /// Fails if the data folder is no longer at its path: another service may answer from there, with other records.
    fn check_present(&self) -> Result<(), Error> {
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
            self.trackers.record(app, &record.id, now);
        }
        Some(session)
    }

    /// Reads a session without counting a read.
    pub(crate) fn peek(&self, key: &Key) -> Result<Option<Stored>, Error> {
        self.check_present()?;
        let shard = self.shard(key);
        match shard.dirty.get(key).or_else(|| shard.clean.peek(key)) {
            Some(stored) => Ok(Some(stored.clone())),
            None => self.disk.load(key),
        }
    }

    /// The second of a session's last activity, unless it has expired: [`Self::peek`] without the record.
    pub(crate) fn last_active(&self, key: &Key, now: Seconds) -> Result<Option<Seconds>, Error> {
        let shard = self.shard(key);
        if let Some(stored) = shard.dirty.get(key).or_else(|| shard.clean.peek(key)) {
            let record = &stored.record;
            return Ok((!record.expired(now)).then_some(record.last_active));
        }
        self.disk.last_active(key, now)
    }

    /// Takes over a commit of the writer: a changed session, or `None` for a removed one. Reads that were counted between the
    /// writer's look at the session and its commit are kept.
    pub(crate) fn apply(&self, key: Key, committed: Option<Stored>) {
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

    /// Brings memory in line with a reopened engine. A change that failed may be on disk after all. Reads that were not written
    /// are kept unless their session is gone. Trackers are given up.
    pub(crate) fn agree(&self) -> Result<(), Error> {
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
        self.trackers.forget_all();
        self.disk.found();
        Ok(())
    }

    /// The keys of the dirty records in one of `parts` even parts of the shards.
    pub(crate) fn dirty(&self, part: u32, parts: u32) -> Vec<Key> {
        let begin = |part: u32| SHARDS * part as usize / parts as usize;
        self.shards[begin(part)..begin(part + 1)]
            .iter()
            .flat_map(|shard| lock(shard).dirty.keys().copied().collect::<Vec<_>>())
            .collect()
    }

    /// A copy of a dirty record, to be written.
    pub(crate) fn dirty_copy(&self, key: &Key) -> Option<Stored> {
        self.shard(key).dirty.get(key).cloned()
    }

    /// Makes a dirty record clean that was written, unless it was read again since.
    pub(crate) fn settle(&self, flushed: Flushed) {
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

/// A panic under a lock leaves its shard consistent: each change is a single insertion or removal.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
