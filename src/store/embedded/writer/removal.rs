//! Removals within a commit batch, and the activity that outlives a session.
//!
//! `activity` counts ids by their last activity. If a session is removed and its id has others that were active
//! earlier, the batch writes an entry with the last activity of the removed one. That entry goes with the last session
//! of the id.

use super::batch::CommitBatch;
use crate::{
    session::{App, Seconds, Token, UserId},
    store::{Error, Key, embedded::codec::Stored},
};

impl CommitBatch<'_> {
    /// Removes a session. Its activity outlives it as long as the id has others.
    pub(crate) fn remove(&mut self, key: Key, stored: &Stored) -> Result<(), Error> {
        self.writes.remove(&key, stored);
        self.changed.insert(key, None);
        let (app, id) = (key.app, &stored.record.id);
        let known = self.outlived(app, id)?;
        let last = match self.another(app, id)? {
            None => {
                self.ended.push((app, id.clone()));
                None
            }
            Some(token) => {
                // A session that cannot be read counts as active earlier: the entry is kept rather than lost.
                let other = self.load(&Key { app, token }).ok().flatten();
                let other = other.map(|other| other.record.last_active);
                let later = other.is_none_or(|other| other < stored.record.last_active);
                known.max(later.then_some(stored.record.last_active))
            }
        };
        self.outlive(app, id, known, last);
        self.yielder.step();
        Ok(())
    }

    /// Removes one session of an id that is to lose all of them, so that no activity has to outlive it.
    pub(crate) fn remove_one_of_all(&mut self, key: Key, stored: &Stored) -> Result<(), Error> {
        if self.cache.trackers.is_tracked(key.app) {
            // The tracker has to learn which removed session was the last one of the id.
            return self.remove(key, stored);
        }
        self.writes.remove(&key, stored);
        self.changed.insert(key, None);
        let (app, id) = (key.app, &stored.record.id);
        let known = self.outlived(app, id)?;
        self.outlive(app, id, known, None);
        self.yielder.step();
        Ok(())
    }

    /// Another session of an id: the last one in key order. Why the last: sessions of an id are mostly removed from the
    /// first one on, and the engine would have to step over their tombstones.
    fn another(&self, app: App, id: &UserId) -> Result<Option<Token>, Error> {
        self.tokens(app, id, None)?.next_back().transpose()
    }

    fn outlive(&mut self, app: App, id: &UserId, known: Option<Seconds>, last: Option<Seconds>) {
        if last != known {
            self.writes.outlive(app, id, last);
            self.outlived.insert((app, id.clone()), last);
        }
    }

    /// The outlived activity of an id, as this batch leaves it.
    fn outlived(&self, app: App, id: &UserId) -> Result<Option<Seconds>, Error> {
        match self.outlived.get(&(app, id.clone())) {
            Some(last) => Ok(*last),
            None => self.cache.disk.outlived(app, id),
        }
    }
}
