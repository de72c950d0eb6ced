//! Scans the index of activity: for a count of an app without a tracker, and to fill a tracker.
//!
//! A scan works in parts, on threads that may block. Each part reads a [`Snapshot`](super::super::engine::Snapshot) of its own for some milliseconds, so that
//! a long scan does not pin the engine.
//!
//! Nothing is missed between two parts, as the parts follow the direction in which activity moves: from the earliest entry
//! to the latest, then what is remembered of removed sessions. A session's entry only ever moves to a later second, and when
//! the session is removed its activity moves to what is remembered. What was counted before such a move is met again, and
//! an id counts once.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use tokio::sync::OwnedMutexGuard;

use super::{
    app_tracker::AppTracker,
    tracker::{Sighting, lag_start},
};
use crate::{
    session::{App, Seconds, Token, UserId},
    store::{Error, embedded::engine::EngineHandle, yielder::Yielder},
};

/// The most index entries in a part.
const PART_ENTRIES: usize = 8192;
/// About how long a part may hold its snapshot.
const PART_TIME: Duration = Duration::from_millis(20);
/// Sightings that a tracker takes under one lock, so that requests of the app wait for some microseconds at most.
const CHUNK: usize = 256;

/// Counts the ids that were active at `since` or later, by a scan of the index. Reads must have been flushed.
pub(crate) fn count(engine: &EngineHandle, app: App, since: Seconds) -> Result<u64, Error> {
    // 8 bytes for an id instead of its text: of a million ids, two share a hash once in 40 million counts.
    let hasher = RandomState::new();
    let mut ids = HashSet::new();
    let mut scan = Scan::new(app, since, lag_start(since)..=Seconds::MAX, true);
    while !scan.ended() {
        scan.part(engine, |id, second, _| {
            if second >= since {
                ids.insert(hasher.hash_one(id));
            }
        })?;
    }
    Ok(ids.len() as u64)
}

/// The same, and fills the tracker of the app with what is missing for the count.
pub(crate) fn count_tracked(
    engine: &EngineHandle,
    tracker: &AppTracker,
    since: Seconds,
    permit: OwnedMutexGuard<()>,
) -> Result<u64, Error> {
    let filled = fill(engine, tracker, since);
    tracker.end_scan(since, filled.is_ok());
    // The next request need not wait for what follows.
    drop(permit);
    filled?;
    match tracker.count(since) {
        Some(count) => Ok(count),
        None => count(engine, tracker.app, since),
    }
}

fn fill(engine: &EngineHandle, tracker: &AppTracker, since: Seconds) -> Result<(), Error> {
    let Some((seconds, further_back)) = tracker.begin_scan(since) else {
        return Ok(());
    };
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut scan = Scan::new(tracker.app, since, seconds, further_back);
    // A tracker that was given up meanwhile needs no more.
    while !scan.ended() && tracker.is_active() {
        scan.part(engine, |id, second, lagging| {
            let id = tracker.hash(id);
            chunk.push(Sighting { id, second, lagging });
            if chunk.len() == CHUNK {
                tracker.record_sightings(&mut chunk);
            }
        })?;
    }
    tracker.record_sightings(&mut chunk);
    Ok(())
}

/// A scan that is under way.
struct Scan {
    app: App,
    since: Seconds,
    /// The seconds of the index entries to scan.
    seconds: RangeInclusive<Seconds>,
    /// Whether to scan the remembered activity of removed sessions too.
    outlived: bool,
    position: Position,
    yielder: Yielder,
}

/// What the next part begins with.
enum Position {
    /// The index entries after this one.
    Entries(Option<(Seconds, Token)>),
    /// The remembered activity of removed sessions, after this id.
    Outlived(Option<UserId>),
    End,
}

impl Scan {
    fn new(app: App, since: Seconds, seconds: RangeInclusive<Seconds>, outlived: bool) -> Self {
        Self {
            app,
            since,
            seconds,
            outlived,
            position: Position::Entries(None),
            yielder: Yielder::new(),
        }
    }

    fn ended(&self) -> bool {
        matches!(self.position, Position::End)
    }

    /// Scans the next part. Calls `see` with each id, the second at which it was active, and whether that may lag.
    fn part(&mut self, engine: &EngineHandle, mut see: impl FnMut(&str, Seconds, bool)) -> Result<(), Error> {
        let snapshot = engine.snapshot()?;
        let mut part = Part::begin(&mut self.yielder);
        if let Position::Entries(after) = &mut self.position {
            for entry in snapshot.earliest_first(self.app, self.seconds.clone(), *after) {
                let entry = entry?;
                if entry.active >= self.since {
                    see(&entry.id, entry.active, true);
                } else if let Some(second) = snapshot.last_active(&entry.key)? {
                    see(&entry.id, second, false);
                }
                *after = Some((entry.active, entry.key.token));
                if part.is_over() {
                    return Ok(());
                }
            }
            self.position = if self.outlived {
                Position::Outlived(None)
            } else {
                Position::End
            };
        }
        if let Position::Outlived(after) = &mut self.position {
            for remembered in snapshot.outlived(self.app, after.as_ref()) {
                let (id, second) = remembered?;
                if second >= self.since {
                    see(id.as_str(), second, false);
                }
                *after = Some(id);
                if part.is_over() {
                    return Ok(());
                }
            }
            self.position = Position::End;
        }
        Ok(())
    }
}

/// Bounds one part of a scan.
struct Part<'a> {
    began: Instant,
    entries: usize,
    yielder: &'a mut Yielder,
}

impl<'a> Part<'a> {
    fn begin(yielder: &'a mut Yielder) -> Self {
        Self {
            began: Instant::now(),
            entries: PART_ENTRIES,
            yielder,
        }
    }

    /// Counts one entry, and says whether the part is over.
    fn is_over(&mut self) -> bool {
        self.yielder.step();
        self.entries -= 1;
        self.entries == 0 || self.began.elapsed() >= PART_TIME
    }
}
