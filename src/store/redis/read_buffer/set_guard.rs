//! A set, which counts a read as well and cannot be repeated: no batch with its session is under way meanwhile.

use crate::{
    session::{Record, Seconds},
    store::{
        Key,
        redis::read_buffer::{buffer::ReadBuffer, entry::Entry},
    },
};

/// A set under way.
pub(crate) struct SetGuard<'a> {
    buffer: &'a ReadBuffer,
    key: Key,
    /// The second of the last noted read, 0 if there is none.
    pub(crate) last_active: Seconds,
}

impl ReadBuffer {
    /// Begins a set: waits for the batch under way, and keeps the next one away for as long as the result lives.
    pub(crate) async fn begin_set(&self, key: Key) -> SetGuard<'_> {
        loop {
            let ended = self.ended.notified();
            {
                let mut entries = self.shards[self.place(&key)].lock();
                let entry = entries.entry(key).or_default();
                if !entry.writing {
                    entry.sets += 1;
                    let last_active = entry.last_active;
                    return SetGuard {
                        buffer: self,
                        key,
                        last_active,
                    };
                }
            }
            ended.await;
        }
    }
}

impl SetGuard<'_> {
    /// Takes the entries into the record that the set replied.
    pub(crate) fn take_in(&self, record: &mut Record) {
        let entries = self.buffer.shards[self.buffer.place(&self.key)].lock();
        Entry::take_in_if_any(&entries, &self.key, record);
    }
}

impl Drop for SetGuard<'_> {
    fn drop(&mut self) {
        let mut entries = self.buffer.shards[self.buffer.place(&self.key)].lock();
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.sets -= 1;
            if entry.sets == 0 && entry.reads == 0 {
                entries.remove(&self.key);
            }
        }
    }
}
