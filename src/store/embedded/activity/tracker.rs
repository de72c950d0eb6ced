//! What a watch knows: the ids of an app with their last activity, and how far back it knows them.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem::replace,
    ops::RangeInclusive,
    sync::Arc,
    time::Instant,
};

use super::{WATCH, histogram::Counts, memory_budget::Room};
use crate::{session::Seconds, store::embedded::engine::STEP};

/// There is no room for another id.
pub(super) struct Full;

/// An id that was found in the index.
pub(super) struct Found {
    /// The hash of the id.
    pub(super) id: u64,
    pub(super) second: Seconds,
    /// Whether the last activity may be up to a step later, as only the index was asked.
    pub(super) rough: bool,
}

/// The reading of the index that is under way.
struct Reading {
    /// Ids without any session since it began: what it finds of them is no more.
    gone: HashSet<u64>,
    /// The second from which on everything will be known at its end.
    from: Seconds,
}

/// The ids that were active at [`from`](Self::from) or later, and perhaps some of before.
pub(super) struct Known {
    last: HashMap<u64, Seconds>,
    counts: Counts,
    from: Seconds,
    /// Seconds of index entries whose sessions may have been active up to a step later.
    rough: BTreeSet<Seconds>,
    reading: Option<Reading>,
    /// The first second that any question of this period and of the one before was about, as if asked at `made`.
    asked: [Option<Seconds>; 2],
    made: Instant,
    room: Arc<Room>,
}

impl Known {
    /// Nothing yet. `None` if there is no room for a watch.
    pub(super) fn new(room: &Arc<Room>) -> Option<Self> {
        room.take(WATCH).then(|| Self {
            last: HashMap::new(),
            counts: Counts::default(),
            from: Seconds::MAX,
            rough: BTreeSet::new(),
            reading: None,
            asked: [None; 2],
            made: Instant::now(),
            room: room.clone(),
        })
    }

    /// How many ids were active at a second or later, if that is known.
    pub(super) fn count(&self, since: Seconds) -> Option<u64> {
        let known = since >= self.from && self.rough.range(before(since)..since).next().is_none();
        known.then(|| self.counts.since(since))
    }

    /// Keeps in mind that somebody asks about so long a time.
    pub(super) fn ask(&mut self, since: Seconds) {
        let since = since.saturating_sub(self.age());
        let first = self.asked[0].map_or(since, |first| first.min(since));
        self.asked[0] = Some(first);
    }

    /// Ends a period. False if nobody has asked since the one before began.
    pub(super) fn next_period(&mut self) -> bool {
        let wanted = self.asked != [None; 2];
        self.let_go();
        self.asked = [None, self.asked[0]];
        wanted
    }

    /// An id was active.
    pub(super) fn note(&mut self, id: u64, second: Seconds) -> Result<(), Full> {
        match self.last.get_mut(&id) {
            Some(last) if *last >= second => {}
            Some(last) => self.counts.shift(replace(last, second), second),
            None => {
                if !self.room.take(1) {
                    self.make_room()?;
                }
                self.last.insert(id, second);
                self.counts.add(second);
            }
        }
        Ok(())
    }

    /// The last session of an id was removed.
    pub(super) fn remove(&mut self, id: u64) {
        if let Some(last) = self.last.remove(&id) {
            self.counts.remove(last);
            self.room.give(1);
        }
        if let Some(reading) = &mut self.reading {
            reading.gone.insert(id);
        }
    }

    /// Begins to read what is missing for a count. Says which seconds of the index those are, and whether it goes further
    /// back than before.
    pub(super) fn begin(&mut self, since: Seconds) -> (RangeInclusive<Seconds>, bool) {
        self.reading = Some(Reading {
            gone: HashSet::new(),
            from: since,
        });
        if since < self.from {
            (before(since)..=self.from, true)
        } else {
            let mut rough = self.rough.range(before(since)..since);
            let first = rough.next().copied().unwrap_or(since);
            let last = rough.next_back().copied().unwrap_or(first);
            (first..=last, false)
        }
    }

    /// The reading has found something, which may have changed since.
    pub(super) fn find(&mut self, found: &Found) -> Result<(), Full> {
        let &Found { id, second, rough } = found;
        if self.reading.as_ref().is_some_and(|reading| reading.gone.contains(&id)) {
            return Ok(());
        }
        self.note(id, second)?;
        // Where the id was active later anyway, the entry does not matter.
        if rough && self.last.get(&id) < Some(&second.saturating_add(STEP - 1)) {
            self.rough.insert(second);
        }
        Ok(())
    }

    /// The reading for a count has come to its end, or to an error.
    pub(super) fn end(&mut self, since: Seconds, complete: bool) {
        if let Some(reading) = self.reading.take()
            && complete
        {
            self.from = self.from.min(reading.from);
            for second in before(since)..since {
                self.rough.remove(&second);
            }
        }
    }

    /// Lets go of ids that no question was about of late, if that gives back a quarter of them.
    fn make_room(&mut self) -> Result<(), Full> {
        let ids = self.last.len();
        self.let_go();
        let enough = self.last.len() <= ids - ids / 4 && self.room.take(1);
        enough.then_some(()).ok_or(Full)
    }

    /// Lets go of ids that no question was about of late, if those are a quarter or more.
    fn let_go(&mut self) {
        let Some(first) = self.asked.into_iter().flatten().min() else {
            return;
        };
        let from = first.saturating_add(self.age());
        let ids = self.last.len();
        let kept = self.counts.since(before(from));
        if from <= self.from || kept > (ids - ids / 4) as u64 {
            return;
        }
        let counts = &mut self.counts;
        self.last.retain(|_, last| {
            let keep = *last >= before(from);
            if !keep {
                counts.remove(*last);
            }
            keep
        });
        self.last.shrink_to_fit();
        self.room.give(ids - self.last.len());
        self.rough = self.rough.split_off(&before(from));
        self.from = from;
        if let Some(reading) = &mut self.reading {
            reading.from = reading.from.max(from);
        }
    }

    fn age(&self) -> Seconds {
        self.made.elapsed().as_secs()
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.room.give(WATCH + self.last.len());
    }
}

/// Where the index may have a session that was active at a second.
fn before(since: Seconds) -> Seconds {
    since.saturating_sub(STEP)
}
