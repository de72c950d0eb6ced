//! `killsoid`: removes every session of an id.

use super::remove::{BATCH, Removed};
use crate::{
    session::{App, Token, UserId},
    store::{
        Error, Key,
        embedded::{
            Embedded,
            writer::{Change, CommitBatch},
        },
    },
};

/// Removes up to [`BATCH`] sessions of an id. The writer itself looks them up: no session that is created meanwhile is
/// missed.
struct Killsoid {
    app: App,
    id: UserId,
    /// The last token of the batch before.
    after: Option<Token>,
}

impl Change for Killsoid {
    /// What was removed, and the last token if there may be more.
    type Outcome = (Removed, Option<Token>);

    fn may_be_dropped(&self) -> bool {
        false
    }

    fn apply(self, batch: &mut CommitBatch<'_>) -> Result<Self::Outcome, Error> {
        let Self { app, id, after } = self;
        let mut tokens = batch
            .tokens(app, &id, after)?
            .take(BATCH + 1)
            .collect::<Result<Vec<_>, _>>()?;
        let more = tokens.len() > BATCH;
        tokens.truncate(BATCH);
        let last = tokens.last().copied().filter(|_| more);
        Ok((
            remove_all(batch, tokens.into_iter().map(|token| Key { app, token }))?,
            last,
        ))
    }
}

/// Removes sessions whose ids lose all of theirs. A session that cannot be read stays.
pub(super) fn remove_all(batch: &mut CommitBatch<'_>, keys: impl IntoIterator<Item = Key>) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    for key in keys {
        match batch.load(&key) {
            Ok(Some(stored)) => {
                batch.remove_one_of_all(key, &stored)?;
                removed.count += 1;
            }
            Ok(None) => {}
            Err(_) => removed.incomplete = true,
        }
    }
    Ok(removed)
}

impl Embedded {
    /// See [`crate::store::Store::killsoid`]. Fails if one session could not be read; the others are removed all the
    /// same.
    pub(crate) async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        let (mut removed, mut after, mut pace) = (Removed::default(), None, self.throttle.operation());
        loop {
            let part = pace.part().await?;
            let id = id.clone();
            let (more, last) = self.apply_in_time(Killsoid { app, id, after }).await?;
            part.release();
            removed.add(more);
            if last.is_none() {
                return removed.complete();
            }
            after = last;
        }
    }
}
