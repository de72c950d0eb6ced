//! Reads the records of a list's sessions.

use std::cmp::Reverse;

use super::{Listing, part::PartBudget};
use crate::{
    session::{Cursor, Record, UserId},
    store::{
        Error, Key, Listed, PART_BYTES, SNAPSHOT_BYTES, SNAPSHOT_SESSIONS,
        embedded::{cache::Cache, engine::Snapshot},
        list_window::Window,
    },
};

/// The most sessions in a part of a list.
const PART_SESSIONS: usize = 500;

impl Listing {
    /// All sessions of an id that follow, if it has few: the tokens are those of one moment. `None`: it has too many.
    pub(super) fn read_small_id(
        &self,
        cache: &Cache,
        snapshot: &Snapshot<'_>,
        id: &UserId,
    ) -> Result<Option<Vec<Listed>>, Error> {
        let (mut list, mut bytes) = (Vec::new(), 0);
        for (n, token) in snapshot.tokens(self.app, id, None).enumerate() {
            let key = Key {
                app: self.app,
                token: token?,
            };
            if n == SNAPSHOT_SESSIONS || bytes > SNAPSHOT_BYTES {
                return Ok(None);
            }
            let Some(stored) = cache.peek(&key)?.filter(|stored| !stored.record.expired(self.now)) else {
                continue;
            };
            let cursor = Cursor::new(stored.record.last_active, key.token.as_bytes());
            if self.after.is_none_or(|after| cursor < after) {
                bytes += data_bytes(&stored.record);
                list.push(Listed {
                    cursor,
                    session: stored.record.view(self.now),
                });
            }
        }
        list.sort_unstable_by_key(|listed| Reverse(listed.cursor));
        Ok(Some(list))
    }

    /// Reads the records of the window's next positions.
    pub(super) fn read(
        &mut self,
        cache: &Cache,
        window: &mut Window,
        budget: &mut PartBudget,
    ) -> Result<Vec<Listed>, Error> {
        let (mut list, mut bytes) = (Vec::new(), 0);
        while list.len() < PART_SESSIONS.min(self.remaining)
            && bytes < PART_BYTES
            && let Some(position) = window.ahead(0)
        {
            let (cursor, token) = (position.cursor(), position.parsed());
            let key = token.map(|token| Key { app: self.app, token });
            let stored = match key.map_or(Ok(None), |key| cache.peek(&key)) {
                // What was read so far is answered. The next part meets the error again if it lasts.
                Err(_) if !list.is_empty() => break,
                stored => stored?,
            };
            if let Some(stored) = stored.filter(|stored| !stored.record.expired(self.now)) {
                bytes += data_bytes(&stored.record);
                list.push(Listed {
                    cursor,
                    session: stored.record.view(self.now),
                });
            }
            window.next();
            self.after = Some(cursor);
            if !budget.step() {
                break;
            }
        }
        self.remaining -= list.len();
        Ok(list)
    }
}

fn data_bytes(record: &Record) -> usize {
    record.data.as_ref().map_or(0, |data| data.as_str().len())
}
