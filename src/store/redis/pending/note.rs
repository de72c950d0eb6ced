//! What is noted of one session.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::{
    session::{Record, Seconds},
    store::Key,
};

pub(super) type Notes = HashMap<Key, Note, RandomState>;

#[derive(Default)]
pub(super) struct Note {
    /// How many reads Redis does not know of.
    pub(super) reads: u64,
    /// The second of the last one.
    pub(super) last_active: Seconds,
    /// Sets under way.
    pub(super) sets: u32,
    /// Whether a batch with these reads is under way.
    pub(super) writing: bool,
}

/// What is to be written for one session.
pub(in super::super) struct Touch {
    pub(in super::super) key: Key,
    pub(in super::super) reads: u64,
    pub(in super::super) last_active: Seconds,
}

impl Note {
    pub(super) fn free(&self) -> bool {
        self.reads > 0 && self.sets == 0 && !self.writing
    }

    pub(super) fn take(&mut self, key: Key) -> Touch {
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

    pub(super) fn take_in_if_any(notes: &Notes, key: &Key, record: &mut Record) {
        if let Some(note) = notes.get(key) {
            note.take_in(record);
        }
    }
}
