//! The buffered reads of one session.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::{
    session::{Record, Seconds},
    store::Key,
};

/// The buffered reads of some sessions.
pub(crate) type Entries = HashMap<Key, Entry, RandomState>;

/// The buffered reads of one session, and what holds them off.
#[derive(Default)]
pub(crate) struct Entry {
    /// How many reads are buffered.
    pub(crate) reads: u64,
    /// The second of the last read.
    pub(crate) last_active: Seconds,
    /// How many sets are in flight.
    pub(crate) sets: u32,
    /// Whether a batch with these reads is in flight.
    pub(crate) writing: bool,
}

/// What a flush writes for one session.
pub(crate) struct BufferedReads {
    pub(crate) key: Key,
    pub(crate) reads: u64,
    pub(crate) last_active: Seconds,
}

impl Entry {
    /// Whether a flush may take the reads.
    pub(crate) fn free(&self) -> bool {
        self.reads > 0 && self.sets == 0 && !self.writing
    }

    /// Begins to write the reads.
    pub(crate) fn take(&mut self, key: Key) -> BufferedReads {
        self.writing = true;
        BufferedReads {
            key,
            reads: self.reads,
            last_active: self.last_active,
        }
    }

    /// Adds the reads to a record.
    fn take_in(&self, record: &mut Record) {
        record.reads += self.reads;
        record.renew(self.last_active);
    }

    /// Adds the buffered reads of a session to its record.
    pub(crate) fn take_in_if_any(entries: &Entries, key: &Key, record: &mut Record) {
        if let Some(entry) = entries.get(key) {
            entry.take_in(record);
        }
    }
}
