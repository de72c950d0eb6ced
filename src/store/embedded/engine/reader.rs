//! Reads records and index entries from the engine that is open.
//!
//! The `activity` index serves `activity`, `soapp` and the wiper. Its entries lag behind busy sessions by less than
//! [`STEP`](super::STEP), so a reader starts that much earlier, and reads the record where the entry alone does not
//! decide.

use std::{
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use super::{
    database::{Engine, failed},
    handle::EngineHandle,
};
use crate::{
    session::{App, Seconds, Token, UserId},
    store::{
        Error, Key,
        embedded::codec::{self, Activity, Stored, Unreadable},
    },
};

impl EngineHandle {
    /// Reads a session.
    pub(crate) fn load(&self, key: &Key) -> Result<Option<Stored>, Error> {
        self.load_from(&*self.engine()?, key)
    }

    /// Reads a session from an engine that was just opened again, while requests still get a 503.
    pub(crate) fn load_again(&self, key: &Key) -> Result<Option<Stored>, Error> {
        self.load_from(&*self.any_engine()?, key)
    }

    fn load_from(&self, engine: &Engine, key: &Key) -> Result<Option<Stored>, Error> {
        let value = engine.sessions.get(codec::session_key(key)).map_err(failed)?;
        let stored = value.map(|bytes| self.readable(codec::decode(&bytes)));
        stored.unwrap_or(Ok(None))
    }

    /// What was read of a record. A damaged one counts as missing; one of a newer version must not.
    pub(super) fn readable<T>(&self, decoded: Result<T, Unreadable>) -> Result<Option<T>, Error> {
        match decoded {
            Ok(read) => Ok(Some(read)),
            Err(Unreadable::Damaged) => {
                self.metrics.unreadable();
                Ok(None)
            }
            Err(Unreadable::Newer) => {
                self.newer_records.found();
                Err(Error::Unavailable)
            }
        }
    }

    /// The last activity of a session that has not expired. Does not read its data.
    pub(crate) fn last_active(&self, key: &Key, now: Seconds) -> Result<Option<Seconds>, Error> {
        let value = self.engine()?.sessions.get(codec::session_key(key)).map_err(failed)?;
        let Some(bytes) = value else {
            return Ok(None);
        };
        let Some((last_active, ttl)) = self.readable(codec::times(&bytes))? else {
            return Ok(None);
        };
        Ok((now.saturating_sub(last_active) <= ttl).then_some(last_active))
    }

    /// The tokens of one id, after one of them.
    pub(crate) fn tokens(
        &self,
        app: App,
        id: &UserId,
        after: Option<Token>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<Token, Error>> + use<>, Error> {
        let after = after.map(|token| codec::user_key(&Key { app, token }, id));
        let engine = self.engine()?;
        let entries = engine.users.range(following(codec::user_prefix(app, id), after));
        Ok(tokens(held(entries, engine)))
    }

    /// The sessions of one app in the order of their tokens, after one of them.
    pub(crate) fn sessions(
        &self,
        app: App,
        after: Option<Token>,
    ) -> Result<impl Iterator<Item = Result<Key, Error>> + use<>, Error> {
        let after = after.map(|token| codec::session_key(&Key { app, token }));
        let engine = self.engine()?;
        let entries = engine.sessions.range(following(codec::app_prefix(app), after));
        Ok(held(entries, engine).filter_map(move |entry| {
            let key = entry.key().map_err(failed);
            key.map(|key| codec::trailing_token(&key).map(|token| Key { app, token }))
                .transpose()
        }))
    }

    /// The last second at which a session of an id was active that is no more, if that is remembered.
    pub(crate) fn outlived(&self, app: App, id: &UserId) -> Result<Option<Seconds>, Error> {
        let key = codec::outlived_key(app, id.as_str());
        let value = self.engine()?.activity.get(key).map_err(failed)?;
        Ok(value.and_then(|value| codec::outlived_second(&value)))
    }

    /// All `activity` entries, after one of them.
    pub(crate) fn activities(
        &self,
        after: Option<&Activity>,
    ) -> Result<impl Iterator<Item = Result<Activity, Error>> + use<>, Error> {
        let after = after.map(|entry| codec::activity_key(&entry.key, entry.active));
        let engine = self.engine()?;
        let entries = engine.activity.range(following(Vec::new(), after));
        Ok(activities(held(entries, engine)))
    }
}

/// The keys that begin with `prefix`, after one of them.
pub(super) fn following(prefix: Vec<u8>, after: Option<Vec<u8>>) -> impl RangeBounds<Vec<u8>> {
    // No key goes on with 0xff: tokens and app names have only ASCII.
    let end = [prefix.as_slice(), &[0xff]].concat();
    let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
    (start, Bound::Excluded(end))
}

/// An iterator that keeps its engine open. Why: an iterator that outlives the engine may delete obsolete tables when it
/// is dropped, and an engine that was opened again may use the same names.
struct Held {
    entries: fjall::Iter,
    _engine: Arc<Engine>,
}

impl Iterator for Held {
    type Item = fjall::Guard;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next()
    }
}

impl DoubleEndedIterator for Held {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries.next_back()
    }
}

fn held(entries: fjall::Iter, engine: Arc<Engine>) -> Held {
    Held {
        entries,
        _engine: engine,
    }
}

pub(super) fn tokens(
    entries: impl DoubleEndedIterator<Item = fjall::Guard>,
) -> impl DoubleEndedIterator<Item = Result<Token, Error>> {
    entries.filter_map(|entry| {
        let key = entry.key().map_err(failed);
        key.map(|key| codec::trailing_token(&key)).transpose()
    })
}

pub(super) fn activities(entries: impl Iterator<Item = fjall::Guard>) -> impl Iterator<Item = Result<Activity, Error>> {
    entries.filter_map(|entry| match entry.into_inner() {
        Ok((key, value)) => codec::activity(&key, &value).map(Ok),
        Err(cause) => Some(Err(failed(cause))),
    })
}
