//! The sessions of an app, last active first, without more than a few of them in memory.

use std::collections::BinaryHeap;

use super::{LOOK, cache::Cache, engine::STEP, rows::Activity};
use crate::{
    error::Error,
    session::{App, Cursor, Seconds, Token},
    store::{
        BATCH_BYTES, Key, Listed, Span,
        pace::{Pace, give_way},
    },
};

/// A list that is under way. It sees the index as it was when it began, and keeps the engine open.
pub struct Listing {
    app: App,
    span: Span,
    /// The most sessions of a part.
    most: usize,
    entries: Box<dyn Iterator<Item = Result<Activity, Error>> + Send>,
    /// Sessions whose entry was seen, by last activity. That may be a step later than the entry, so that they wait until no
    /// entry to come can be of a later one.
    waiting: BinaryHeap<(Seconds, Token)>,
    /// The first second that no entry to come can reach.
    horizon: Seconds,
    pub(super) pace: Pace,
}

impl Listing {
    /// Begins a list. Reads must have been flushed.
    pub(super) fn begin(cache: &Cache, app: App, span: Span, most: usize, pace: Pace) -> Result<Self, Error> {
        let last = span.after.map_or(Seconds::MAX, Cursor::second);
        let seconds = span.since.saturating_sub(STEP)..=last;
        Ok(Self {
            app,
            span,
            most,
            entries: Box::new(cache.disk.active(app, seconds)?),
            waiting: BinaryHeap::new(),
            horizon: Seconds::MAX,
            pace,
        })
    }

    /// The next sessions, `None` at the end.
    pub(super) fn next(&mut self, cache: &Cache) -> Result<Option<Vec<Listed>>, Error> {
        let (mut list, mut bytes) = (Vec::new(), 0);
        for _ in 0..LOOK {
            give_way();
            if list.len() == self.most || bytes >= BATCH_BYTES {
                break;
            }
            if let Some((second, token)) = self.due() {
                let key = Key { app: self.app, token };
                let now = self.span.now;
                if let Some(stored) = cache.peek(&key)?.filter(|stored| !stored.record.expired(now)) {
                    bytes += stored.record.data.as_ref().map_or(0, |data| data.as_str().len());
                    list.push(Listed {
                        cursor: Cursor::new(second, token.as_bytes()),
                        session: stored.record.view(now),
                    });
                }
            } else if let Some(entry) = self.entries.next() {
                self.wait(cache, &entry?)?;
            } else if self.horizon > 0 {
                self.horizon = 0;
            } else {
                return Ok((!list.is_empty()).then_some(list));
            }
        }
        Ok(Some(list))
    }

    /// The session that is next, if that is known yet.
    fn due(&mut self) -> Option<(Seconds, Token)> {
        let next = self.waiting.peek_mut()?;
        (next.0 >= self.horizon).then(|| std::collections::binary_heap::PeekMut::pop(next))
    }

    fn wait(&mut self, cache: &Cache, entry: &Activity) -> Result<(), Error> {
        self.horizon = entry.active.saturating_add(STEP);
        if let Some(stored) = cache.peek(&entry.key)? {
            // Activity since the beginning does not move it any more.
            let second = stored.record.last_active.min(self.horizon - 1);
            let cursor = Cursor::new(second, entry.key.token.as_bytes());
            if second >= self.span.since && self.span.after.is_none_or(|after| cursor < after) {
                self.waiting.push((second, entry.key.token));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listing(…)")
    }
}
