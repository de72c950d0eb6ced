//! A set, which counts a read as well and cannot be repeated: no batch with its session is under way meanwhile.

use super::{Note, Pending};
use crate::{
    session::{Record, Seconds},
    store::Key,
};

/// A set under way.
pub(in super::super) struct Setting<'a> {
    pending: &'a Pending,
    key: Key,
    /// The second of the last noted read, 0 if there is none.
    pub(in super::super) last_active: Seconds,
}

impl Pending {
    /// Begins a set: waits for the batch under way, and keeps the next one away for as long as the result lives.
    pub(in super::super) async fn set(&self, key: Key) -> Setting<'_> {
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
}

impl Setting<'_> {
    /// Takes the notes into the record that the set replied.
    pub(in super::super) fn take_in(&self, record: &mut Record) {
        let notes = self.pending.shards[self.pending.place(&self.key)].lock();
        Note::take_in_if_any(&notes, &self.key, record);
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
