//! `kill`: removes one session.

use crate::{
    session::{App, Seconds, Token},
    store::{
        Error, Key,
        embedded::{
            Embedded,
            writer::{Change, CommitBatch},
        },
    },
};

struct Kill {
    key: Key,
    now: Seconds,
}

impl Change for Kill {
    type Outcome = bool;

    fn may_be_dropped(&self) -> bool {
        false
    }

    fn apply(self, batch: &mut CommitBatch<'_>) -> Result<bool, Error> {
        let Some(stored) = batch.load(&self.key)? else {
            return Ok(false);
        };
        batch.remove(self.key, &stored)?;
        Ok(!stored.record.expired(self.now))
    }
}

impl Embedded {
    /// See [`crate::store::Store::kill`].
    pub(crate) async fn kill(&self, app: App, token: Token, now: Seconds) -> Result<bool, Error> {
        let key = Key { app, token };
        self.writer.apply(Kill { key, now }).await
    }
}
