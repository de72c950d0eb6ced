//! `wipe`: removes the sessions that have expired.

use super::limits::ENTRIES_PER_VISIT;
use super::remove::{BATCH, Found, Removed};
use crate::{
    session::Seconds,
    store::{
        Error, Key,
        embedded::{
            Embedded,
            codec::Activity,
            engine::EngineHandle,
            writer::{Change, CommitBatch},
        },
    },
};

/// Removes those sessions under these keys that have expired at `now`. The wiper's next round retries a dropped change.
struct RemoveExpired {
    keys: Vec<Key>,
    now: Seconds,
}

impl Change for RemoveExpired {
    type Outcome = Removed;

    fn apply(self, batch: &mut CommitBatch<'_>) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        for key in self.keys {
            // A session that cannot be read may be alive, so it stays. If the engine has failed, so does the commit.
            if let Ok(Some(stored)) = batch.load(&key)
                && stored.record.expired(self.now)
            {
                batch.remove(key, &stored)?;
                removed.count += 1;
            }
        }
        Ok(removed)
    }
}

impl Embedded {
    /// See [`crate::store::Store::wipe`].
    pub(crate) async fn wipe(&self, now: Seconds) -> Result<u64, Error> {
        self.remove_in_batches(
            move |disk, after| expired(disk, after, now),
            move |keys| RemoveExpired { keys, now },
        )
        .await
    }
}

/// The next sessions that may have expired.
///
/// Invariant: an index entry never ends later than its session, because activity only moves the end of a session to
/// later. So the index misses no expired session, and the change asks the record.
fn expired(disk: &EngineHandle, after: Option<&Activity>, now: Seconds) -> Result<Found<Activity>, Error> {
    let mut keys = Vec::new();
    for (seen, entry) in disk.activities(after)?.enumerate() {
        let entry = entry?;
        if entry.end < now {
            keys.push(entry.key);
        }
        if keys.len() == BATCH || seen + 1 == ENTRIES_PER_VISIT {
            return Ok((keys, Some(entry)));
        }
    }
    Ok((keys, None))
}
