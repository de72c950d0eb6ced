//! `set`: merges changes into the data of a session.

use crate::{
    session::{App, Changes, Seconds, Session, Token},
    store::{
        Error, Key,
        embedded::{
            Embedded,
            writer::{Change, CommitBatch},
        },
    },
};

struct Set {
    key: Key,
    changes: Changes,
    now: Seconds,
}

impl Change for Set {
    type Outcome = Option<Session>;

    fn data_bytes(&self) -> usize {
        self.changes.bytes()
    }

    fn apply(self, batch: &mut CommitBatch<'_>) -> Result<Option<Session>, Error> {
        let Self { key, changes, now } = self;
        let Some(mut stored) = batch.load(&key)?.filter(|stored| !stored.record.expired(now)) else {
            return Ok(None);
        };
        let record = &mut stored.record;
        record.data = changes.apply(record.data.as_ref())?;
        record.writes += 1;
        // The answer has `idle` from before this write.
        let session = record.view(now);
        record.renew(now);
        batch.update(key, stored);
        Ok(Some(session))
    }
}

impl Embedded {
    /// See [`crate::store::Store::set`].
    pub(crate) async fn set(
        &self,
        app: App,
        token: Token,
        changes: Changes,
        now: Seconds,
    ) -> Result<Option<Session>, Error> {
        let key = Key { app, token };
        self.writer.apply(Set { key, changes, now }).await
    }
}
