//! Keeps flushes away from a session with a set in flight: a set counts a read as well, and cannot be repeated.

use crate::{
    session::{Record, Seconds},
    store::{
        Key,
        redis::read_buffer::{buffer::ReadBuffer, entry::Entry},
    },
};

/// A set in flight. While it lives, no flush of its session starts.
pub(crate) struct SetGuard<'a> {
    buffer: &'a ReadBuffer,
    key: Key,
    /// The second of the last buffered read, 0 if there is none.
    pub(crate) last_active: Seconds,
}

impl ReadBuffer {
    /// Begins a set: waits for the flush in flight, and holds off the next one while the guard lives.
    pub(crate) async fn begin_set(&self, key: Key) -> SetGuard<'_> {
        loop {
            let ended = self.ended.notified();
            {
                let mut entries = self.stripes[self.place(&key)].lock();
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
    /// Adds the buffered reads to the record that the set returned.
    pub(crate) fn take_in(&self, record: &mut Record) {
        let entries = self.buffer.stripes[self.buffer.place(&self.key)].lock();
        Entry::take_in_if_any(&entries, &self.key, record);
    }
}

impl Drop for SetGuard<'_> {
    fn drop(&mut self) {
        let mut entries = self.buffer.stripes[self.buffer.place(&self.key)].lock();
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.sets -= 1;
            if entry.sets == 0 && entry.reads == 0 {
                entries.remove(&self.key);
            }
        }
    }
}
