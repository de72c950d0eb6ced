//! The state of one app's tracker: the last activity of its ids, and from which second on it is complete.
//!
//! A tracker takes events and the sightings of a scan in any order, and keeps the latest second of each id.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem::replace,
    ops::RangeInclusive,
    sync::Arc,
    time::Instant,
};

use super::{histogram::Histogram, memory_budget::MemoryBudget};
use crate::{session::Seconds, store::embedded::engine::STEP};

/// The memory of an empty tracker, in ids.
pub(super) const TRACKER_COST: usize = 64;

/// The memory budget has no place for another id.
pub(super) struct OverBudget;

/// An id that a scan found in the index.
pub(super) struct Sighting {
    /// The hash of the id.
    pub(super) id: u64,
    pub(super) second: Seconds,
    /// Whether `second` comes from an index entry, so that the last activity may be up to `STEP - 1` seconds later.
    pub(super) lagging: bool,
}

/// A scan that is under way.
struct RunningScan {
    /// Ids whose last session was removed since the scan began: what it finds of them is outdated.
    removed: HashSet<u64>,
    /// The tracker is complete from this second on once the scan ends.
    complete_from: Seconds,
}

/// The ids that were active at [`complete_from`](Self::complete_from) or later, and some that were active before.
pub(super) struct Tracker {
    last_active: HashMap<u64, Seconds>,
    histogram: Histogram,
    complete_from: Seconds,
    /// Seconds of index entries whose sessions may have been active up to `STEP - 1` seconds later.
    lagging: BTreeSet<Seconds>,
    scan: Option<RunningScan>,
    /// The earliest second that was asked about in this period and in the one before, as if asked at `created`.
    asked: [Option<Seconds>; 2],
    created: Instant,
    budget: Arc<MemoryBudget>,
}

impl Tracker {
    /// An empty tracker. `None` if the budget has no place for it.
    pub(super) fn new(budget: &Arc<MemoryBudget>) -> Option<Self> {
        budget.try_take(TRACKER_COST).then(|| Self {
            last_active: HashMap::new(),
            histogram: Histogram::default(),
            complete_from: Seconds::MAX,
            lagging: BTreeSet::new(),
            scan: None,
            asked: [None; 2],
            created: Instant::now(),
            budget: budget.clone(),
        })
    }

    /// How many ids were active at `since` or later. `None` if that takes a scan.
    pub(super) fn count(&self, since: Seconds) -> Option<u64> {
        let exact = since >= self.complete_from && self.lagging.range(lag_start(since)..since).next().is_none();
        exact.then(|| self.histogram.since(since))
    }

    /// Remembers that a client asks about so long a time, so that its ids are kept.
    pub(super) fn record_question(&mut self, since: Seconds) {
        let since = since.saturating_sub(self.age());
        let first = self.asked[0].map_or(since, |first| first.min(since));
        self.asked[0] = Some(first);
    }

    /// Ends a period. False if no client has asked since the previous one began.
    pub(super) fn end_period(&mut self) -> bool {
        let wanted = self.asked != [None; 2];
        self.forget_old();
        self.asked = [None, self.asked[0]];
        wanted
    }

    /// Records that an id was active.
    pub(super) fn record(&mut self, id: u64, second: Seconds) -> Result<(), OverBudget> {
        match self.last_active.get_mut(&id) {
            Some(last) if *last >= second => {}
            Some(last) => self.histogram.shift(replace(last, second), second),
            None => {
                if !self.budget.try_take(1) {
                    self.free_memory()?;
                }
                self.last_active.insert(id, second);
                self.histogram.add(second);
            }
        }
        Ok(())
    }

    /// Records that the last session of an id was removed.
    pub(super) fn remove(&mut self, id: u64) {
        if let Some(last) = self.last_active.remove(&id) {
            self.histogram.remove(last);
            self.budget.give_back(1);
        }
        if let Some(scan) = &mut self.scan {
            scan.removed.insert(id);
        }
    }

    /// Begins the scan that a count needs. Answers the seconds of the index to scan, and whether that goes further back than
    /// the tracker is complete: then remembered activity of removed sessions has to be scanned too. Otherwise it only
    /// resolves the lag of entries that were seen before.
    ///
    /// Invariant: called before the scan opens its first snapshot, so that no removal falls between the two.
    pub(super) fn begin_scan(&mut self, since: Seconds) -> (RangeInclusive<Seconds>, bool) {
        self.scan = Some(RunningScan {
            removed: HashSet::new(),
            complete_from: since,
        });
        if since < self.complete_from {
            (lag_start(since)..=self.complete_from, true)
        } else {
            let mut lagging = self.lagging.range(lag_start(since)..since);
            let first = lagging.next().copied().unwrap_or(since);
            let last = lagging.next_back().copied().unwrap_or(first);
            (first..=last, false)
        }
    }

    /// Records what the scan has found, which may have changed since.
    pub(super) fn record_sighting(&mut self, sighting: &Sighting) -> Result<(), OverBudget> {
        let &Sighting { id, second, lagging } = sighting;
        if self.scan.as_ref().is_some_and(|scan| scan.removed.contains(&id)) {
            return Ok(());
        }
        self.record(id, second)?;
        // If the id is known to be active later than the entry can lag, the lag does not matter.
        if lagging && self.last_active.get(&id) < Some(&second.saturating_add(STEP - 1)) {
            self.lagging.insert(second);
        }
        Ok(())
    }

    /// Ends the scan for a count. `complete` is false if it failed before its end.
    pub(super) fn end_scan(&mut self, since: Seconds, complete: bool) {
        if let Some(scan) = self.scan.take()
            && complete
        {
            self.complete_from = self.complete_from.min(scan.complete_from);
            for second in lag_start(since)..since {
                self.lagging.remove(&second);
            }
        }
    }

    /// Makes place for another id: forgets ids that no recent question was about, if they are a quarter or more.
    fn free_memory(&mut self) -> Result<(), OverBudget> {
        let ids = self.last_active.len();
        self.forget_old();
        let enough = self.last_active.len() <= ids - ids / 4 && self.budget.try_take(1);
        enough.then_some(()).ok_or(OverBudget)
    }

    /// Forgets ids that no recent question was about, if they are a quarter or more.
    fn forget_old(&mut self) {
        let Some(first) = self.asked.into_iter().flatten().min() else {
            return;
        };
        let from = first.saturating_add(self.age());
        let ids = self.last_active.len();
        let kept = self.histogram.since(lag_start(from));
        if from <= self.complete_from || kept > (ids - ids / 4) as u64 {
            return;
        }
        let histogram = &mut self.histogram;
        self.last_active.retain(|_, last| {
            let keep = *last >= lag_start(from);
            if !keep {
                histogram.remove(*last);
            }
            keep
        });
        self.last_active.shrink_to_fit();
        self.budget.give_back(ids - self.last_active.len());
        self.lagging = self.lagging.split_off(&lag_start(from));
        self.complete_from = from;
        if let Some(scan) = &mut self.scan {
            scan.complete_from = scan.complete_from.max(from);
        }
    }

    fn age(&self) -> Seconds {
        self.created.elapsed().as_secs()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.budget.give_back(TRACKER_COST + self.last_active.len());
    }
}

/// The earliest second of an index entry whose session may have been active at `since`.
pub(super) fn lag_start(since: Seconds) -> Seconds {
    since.saturating_sub(STEP)
}
