//! A view of the engine at one moment, for lists and counts.
//!
//! It shows whole commits only, and the same ones for as long as it is open, however sessions move within the indexes
//! meanwhile. What gets have changed in memory and the writer has not committed yet is not in it.
//!
//! An open snapshot has a price, so a reader opens one for each part of its work and drops it within milliseconds:
//! - The engine keeps the memtables and tables that the snapshot may read, and compactions keep old versions.
//! - The engine cannot be closed, and so not be reopened after a full disk: see [`EngineHandle::reopen`].

use std::{
    ops::RangeInclusive,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fjall::Readable;

use super::{
    database::{Engine, failed},
    handle::EngineHandle,
    reader::{activities, following, tokens},
};
use crate::{
    session::{App, Seconds, Token, UserId},
    store::{
        Error, Key,
        embedded::codec::{self, Activity},
    },
};

/// A view of the engine at one moment.
pub(crate) struct Snapshot<'a> {
    view: fjall::Snapshot,
    /// Invariant: outlives `view` and its iterators. They may delete obsolete tables as they are dropped, and a reopened
    /// engine could know other tables by the same names.
    engine: Arc<Engine>,
    handle: &'a EngineHandle,
}

impl EngineHandle {
    /// Opens a snapshot of all commits so far. It may have to wait for a commit that is under way, and fails if that takes
    /// very long.
    pub(crate) fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        let engine = self.engine()?;
        Ok(Snapshot {
            view: engine.view()?,
            engine,
            handle: self,
        })
    }
}

/// The longest wait for a commit whose changes are half visible.
const COMMIT_WAIT: Duration = Duration::from_secs(5);

impl Engine {
    /// To be called before each commit. Only one is under way at a time.
    pub(super) fn begin_commit(&self) {
        // The commit's own sequence number is this one or greater.
        self.commit_marker.begin(self.db.visible_seqno());
    }

    /// To be called after each commit, whatever its outcome.
    pub(super) fn end_commit(&self) {
        self.commit_marker.end();
    }

    fn view(&self) -> Result<fjall::Snapshot, Error> {
        let deadline = Instant::now() + COMMIT_WAIT;
        loop {
            let view = self.db.snapshot();
            // A view shows what has a lower sequence number than its own. If a commit has ended since the view was opened, all
            // of it is there, and nothing was read yet.
            if self.commit_marker.excludes(view.seqno()) {
                return Ok(view);
            }
            drop(view);
            if Instant::now() > deadline {
                return Err(Error::Unavailable);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Snapshot<'_> {
    /// The last activity of a session, expired or not. `None` if there is no such session.
    pub(crate) fn last_active(&self, key: &Key) -> Result<Option<Seconds>, Error> {
        let record = self.view.get(&self.engine.sessions, codec::session_key(key));
        let Some(record) = record.map_err(failed)? else {
            return Ok(None);
        };
        let times = self.handle.readable(codec::times(&record))?;
        Ok(times.map(|(last_active, _)| last_active))
    }

    /// The tokens of an id in their order, from the one after `after` on.
    pub(crate) fn tokens(
        &self,
        app: App,
        id: &UserId,
        after: Option<Token>,
    ) -> impl Iterator<Item = Result<Token, Error>> + use<'_> {
        let after = after.map(|token| codec::user_key(&Key { app, token }, id));
        tokens(
            self.view
                .range(&self.engine.users, following(codec::user_prefix(app, id), after)),
        )
    }

    /// The `activity` entries of an app within `seconds`, latest first, from the one before `before` on.
    pub(crate) fn latest_first(
        &self,
        app: App,
        seconds: RangeInclusive<Seconds>,
        before: Option<(Seconds, Token)>,
    ) -> impl Iterator<Item = Result<Activity, Error>> {
        let (first, mut last) = activity_bounds(app, seconds);
        if let Some((second, token)) = before {
            last = codec::activity_key(&Key { app, token }, second);
        }
        self.activity(first, last, true)
    }

    /// The `activity` entries of an app within `seconds`, earliest first, from the one after `after` on.
    pub(crate) fn earliest_first(
        &self,
        app: App,
        seconds: RangeInclusive<Seconds>,
        after: Option<(Seconds, Token)>,
    ) -> impl Iterator<Item = Result<Activity, Error>> {
        let (mut first, last) = activity_bounds(app, seconds);
        if let Some((second, token)) = after {
            first = codec::activity_key(&Key { app, token }, second);
            // The least key that is greater.
            first.push(0);
        }
        self.activity(first, last, false)
    }

    fn activity(&self, first: Vec<u8>, last: Vec<u8>, reverse: bool) -> impl Iterator<Item = Result<Activity, Error>> {
        let last = last.max(first.clone());
        let mut entries = self.view.range(&self.engine.activity, first..last);
        activities(std::iter::from_fn(move || {
            if reverse { entries.next_back() } else { entries.next() }
        }))
    }

    /// The ids of an app for which activity of a removed session is remembered, and that activity, from the id after
    /// `after` on.
    pub(crate) fn outlived(
        &self,
        app: App,
        after: Option<&UserId>,
    ) -> impl Iterator<Item = Result<(UserId, Seconds), Error>> + use<'_> {
        let after = after.map(|id| codec::outlived_key(app, id.as_str()));
        let entries = self
            .view
            .range(&self.engine.activity, following(codec::outlived_prefix(app), after));
        entries.filter_map(|entry| match entry.into_inner() {
            Ok((key, value)) => codec::outlived(&key, &value).map(|(_, id, second)| Ok((id, second))),
            Err(cause) => Some(Err(failed(cause))),
        })
    }
}

/// The keys of an app's `activity` entries within `seconds`: from the first bound up to the second.
fn activity_bounds(app: App, seconds: RangeInclusive<Seconds>) -> (Vec<u8>, Vec<u8>) {
    let (mut first, mut last) = (codec::app_prefix(app), codec::app_prefix(app));
    first.extend(seconds.start().to_be_bytes());
    last.extend(seconds.end().to_be_bytes());
    // Greater than the first byte of every token.
    last.push(0xff);
    (first, last)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;
    use crate::{
        observability::metrics::Metrics,
        session::{Ip, Record},
        store::embedded::{
            codec::{Fields, Stored},
            engine::{DataDir, STEP},
        },
    };

    const SESSIONS: usize = 2000;

    fn open() -> (EngineHandle, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let claimed = DataDir::claim(&folder.path().join("data")).unwrap();
        (
            EngineHandle::open(claimed, 1 << 20, Arc::new(Metrics::new())).unwrap(),
            folder,
        )
    }

    fn sessions(app: App) -> Vec<(Key, Stored)> {
        let session = |n: usize| {
            let token = Token::parse(&format!("{n:064}")).unwrap();
            let record = Record {
                id: UserId::stored(&format!("user-{n}")),
                ip: Ip::stored("::1"),
                reads: 1,
                writes: 1,
                ttl: 7200,
                last_active: 1000,
                no_resave: false,
                data: None,
            };
            (
                Key { app, token },
                Stored {
                    active: 1000,
                    record,
                    fields: Fields::default(),
                },
            )
        };
        (0..SESSIONS).map(session).collect()
    }

    /// Flushes end while commits are under way, which makes parts of them visible: see [`CommitMarker`].
    #[test]
    fn a_snapshot_shows_whole_commits_and_always_the_same() {
        let (engine, _folder) = open();
        let app = App::parse("shop").unwrap();
        let mut sessions = sessions(app);
        let mut batch = engine.batch().unwrap();
        for (key, stored) in &sessions {
            batch.insert(key, stored);
        }
        batch.commit().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let mut batch = engine.batch().unwrap();
                    for (key, stored) in &mut sessions {
                        stored.record.last_active += STEP;
                        batch.update(key, stored);
                    }
                    batch.commit().unwrap();
                }
            });
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    engine.engine().unwrap().activity.rotate_memtable_and_wait().unwrap();
                }
            });
            let all = |snapshot: &Snapshot<'_>| -> Vec<_> {
                let entries = snapshot.latest_first(app, 0..=Seconds::MAX, None);
                entries.map(|entry| entry.unwrap().active).collect()
            };
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for n in 0..40 {
                    let snapshot = engine.snapshot().unwrap();
                    let first = all(&snapshot);
                    assert_eq!(first.len(), SESSIONS, "{n}");
                    assert!(first.iter().all(|second| *second == first[0]), "{n}: half of a commit");
                    assert_eq!(all(&snapshot), first, "{n}");
                }
            }));
            done.store(true, Relaxed);
            outcome.unwrap();
        });
    }
}
