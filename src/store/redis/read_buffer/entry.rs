//! What is noted of one session.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::{
    session::{Record, Seconds},
    store::Key,
};

pub(crate) type Entries = HashMap<Key, Entry, RandomState>;

#[derive(Default)]
pub(crate) struct Entry {
    /// How many reads Redis does not know of.
    pub(crate) reads: u64,
    /// The second of the last one.
    pub(crate) last_active: Seconds,
    /// Sets under way.
    pub(crate) sets: u32,
    /// Whether a batch with these reads is under way.
    pub(crate) writing: bool,
}

/// What is to be written for one session.
pub(crate) struct BufferedReads {
    pub(crate) key: Key,
    pub(crate) reads: u64,
    pub(crate) last_active: Seconds,
}

impl Entry {
    pub(crate) fn free(&self) -> bool {
        self.reads > 0 && self.sets == 0 && !self.writing
    }

    pub(crate) fn take(&mut self, key: Key) -> BufferedReads {
        self.writing = true;
        BufferedReads {
            key,
            reads: self.reads,
            last_active: self.last_active,
        }
    }

    fn take_in(&self, record: &mut Record) {
        record.reads += self.reads;
        record.renew(self.last_active);
    }

    pub(crate) fn take_in_if_any(entries: &Entries, key: &Key, record: &mut Record) {
        if let Some(entry) = entries.get(key) {
            entry.take_in(record);
        }
    }
}
