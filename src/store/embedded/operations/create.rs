//! `create`: stores a new session.

use crate::{
    session::{App, Record, Token},
    store::{
        Error, Key,
        embedded::{
            Embedded,
            writer::{Change, CommitBatch},
        },
    },
};

struct Create {
    key: Key,
    record: Record,
}

impl Change for Create {
    type Outcome = ();

    fn data_bytes(&self) -> usize {
        // 1 for a session without data, so that the queue's limit of bytes applies to every create.
        self.record.data.as_ref().map_or(1, |data| data.as_str().len())
    }

    fn apply(self, batch: &mut CommitBatch<'_>) -> Result<(), Error> {
        batch.create(self.key, self.record);
        Ok(())
    }
}

impl Embedded {
    /// See [`crate::store::Store::create`].
    pub(crate) async fn create(&self, app: App, token: Token, record: Record) -> Result<Token, Error> {
        let key = Key { app, token };
        self.writer.apply(Create { key, record }).await.map(|()| token)
    }
}
