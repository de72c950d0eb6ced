//! `killall`: removes every session of an app.

use super::{
    killsoid::remove_all,
    remove::{BATCH, Found, Removed},
};
use crate::{
    session::{App, Token},
    store::{
        Error, Key,
        embedded::{
            Embedded,
            engine::EngineHandle,
            writer::{Change, CommitBatch},
        },
    },
};

/// Removes the sessions under these keys that are still there.
struct RemoveAll {
    keys: Vec<Key>,
}

impl Change for RemoveAll {
    type Outcome = Removed;

    fn may_be_dropped(&self) -> bool {
        false
    }

    fn apply(self, batch: &mut CommitBatch<'_>) -> Result<Removed, Error> {
        remove_all(batch, self.keys)
    }
}

impl Embedded {
    /// See [`crate::store::Store::killall`]. A session that is created meanwhile may stay. Fails if one session could
    /// not be read; the others are removed all the same.
    pub(crate) async fn killall(&self, app: App) -> Result<u64, Error> {
        self.remove_in_batches(move |disk, after| sessions(disk, app, after), |keys| RemoveAll { keys })
            .await
    }
}

/// The next sessions of an app.
fn sessions(disk: &EngineHandle, app: App, after: Option<&Token>) -> Result<Found<Token>, Error> {
    let keys = disk
        .sessions(app, after.copied())?
        .take(BATCH)
        .collect::<Result<Vec<_>, _>>()?;
    let last = keys.last().filter(|_| keys.len() == BATCH).map(|key| key.token);
    Ok((keys, last))
}
