//! `get` and `look`: read one session from memory or from the disk. Neither waits for the writer.

use crate::{
    session::{App, Seconds, Session, Token},
    store::{Error, Key, embedded::Embedded},
};

impl Embedded {
    /// Does what [`Self::get`] does, unless that has to wait until the engine is open again: then `None`.
    pub(crate) fn get_now(&self, app: App, token: Token, now: Seconds) -> Option<Result<Option<Session>, Error>> {
        let found = self.cache.get(Key { app, token }, now);
        (found.is_ok() || !self.cache.disk.reopening()).then_some(found)
    }

    /// See [`crate::store::Store::get`]. The read is counted in memory and on disk within a second.
    pub(crate) async fn get(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        loop {
            if let Some(found) = self.get_now(app, token, now) {
                return found;
            }
            self.reopened().await;
        }
    }

    /// See [`crate::store::Store::look`].
    pub(crate) async fn peek(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        loop {
            let found = self.cache.peek(&Key { app, token });
            if found.is_ok() || !self.reopened().await {
                let live = found?.filter(|stored| !stored.record.expired(now));
                return Ok(live.map(|stored| stored.record.view(now)));
            }
        }
    }
}
