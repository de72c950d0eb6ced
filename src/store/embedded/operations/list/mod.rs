//! The list of an app's or an id's sessions, last active first, read in parts while it is sent.
//!
//! A part holds one [`Snapshot`](super::super::engine::Snapshot) of the engine until its end, some milliseconds later. Between two parts a list holds only a
//! window of positions (see [`crate::store::list_window`]), and [`Listing::release`] gives back even that: a client that
//! reads slowly pins nothing of the engine. Each part goes on in the index after the last position or entry of the part before.
//!
//! The indexes are read from the snapshot, the records from the cache: a session that was killed meanwhile is not listed.

mod part;
mod read;
mod search;

use std::{mem::replace, time::Duration};

use self::part::{FIRST_PART, PART, PartBudget, open};
use crate::{
    session::{App, Cursor, Seconds, Token, UserId},
    store::{
        Error, ListQuery, Listed,
        embedded::cache::Cache,
        list_window::{MIN_WINDOW, Window, WindowBudget, WindowSearch},
        throttle::Throttled,
    },
};

/// A list that is under way.
pub struct Listing {
    app: App,
    scope: Scope,
    now: Seconds,
    /// The position of the last session that was read.
    after: Option<Cursor>,
    /// How many more sessions the client wants at most.
    remaining: usize,
    /// The most positions of the next window.
    window_size: usize,
    budget: WindowBudget,
    throttle: Throttled,
    /// The time that the next part may work.
    part_time: Duration,
    progress: Progress,
}

/// Whose sessions are listed.
enum Scope {
    /// Those of the app that were active at or after a second.
    App { since: Seconds },
    /// All of an id.
    Id(UserId),
}

enum Progress {
    NotStarted,
    /// The index was read up to this entry, to fill the next window. Entries of an id have no second.
    Searching(WindowSearch, Option<(Seconds, Token)>),
    /// The records of the window's positions are being read.
    Reading(Window),
    Ended,
}

impl Listing {
    /// Begins the list of an app. Reads must have been flushed.
    pub(crate) fn of_app(app: App, query: ListQuery, limit: usize, budget: WindowBudget, throttle: Throttled) -> Self {
        let scope = Scope::App { since: query.since };
        // Why: windows double from here, so that the first sessions need not wait for the order of all.
        Self::new(app, scope, query, limit, MIN_WINDOW, budget, throttle)
    }

    /// Begins the list of an id, whenever its sessions were active.
    pub(crate) fn of_id(
        app: App,
        id: UserId,
        query: ListQuery,
        limit: usize,
        budget: WindowBudget,
        throttle: Throttled,
    ) -> Self {
        // Why no smaller window: each one costs a look at all sessions of the id.
        Self::new(app, Scope::Id(id), query, limit, usize::MAX, budget, throttle)
    }

    fn new(
        app: App,
        scope: Scope,
        query: ListQuery,
        limit: usize,
        window_size: usize,
        budget: WindowBudget,
        throttle: Throttled,
    ) -> Self {
        Self {
            app,
            scope,
            now: query.now,
            after: query.after,
            remaining: limit,
            window_size,
            budget,
            throttle,
            part_time: FIRST_PART,
            progress: Progress::NotStarted,
        }
    }

    /// The throttle of the next part. `None` at the end. Why: a short list has one part, and must not queue among the long
    /// ones to say that it has ended.
    pub(crate) fn throttled(&mut self) -> Option<&mut Throttled> {
        (!self.ended()).then_some(&mut self.throttle)
    }

    /// Whether everything was answered.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.progress, Progress::Ended)
    }

    /// Gives memory back while the client does not read. The list goes on after the last session that was read.
    pub(crate) fn release(&mut self) {
        if matches!(self.progress, Progress::Searching(..) | Progress::Reading(_)) {
            self.progress = self.new_search();
        }
    }

    fn new_search(&self) -> Progress {
        let size = match self.scope {
            // The smaller the window, the less of the index has to be read for it. The extra positions replace sessions that
            // are gone when they are read.
            Scope::App { .. } => self.remaining.saturating_add(16),
            Scope::Id(_) => self.remaining.max(MIN_WINDOW),
        };
        let size = size.min(self.window_size);
        Progress::Searching(WindowSearch::new(self.after, size, self.budget.clone()), None)
    }

    /// Reads the next part: the sessions that follow, `None` at the end. A part is empty while the order of many sessions is
    /// being found. May be called again after an error.
    pub(crate) fn next(&mut self, cache: &Cache) -> Result<Option<Vec<Listed>>, Error> {
        let mut budget = PartBudget::new(replace(&mut self.part_time, PART));
        let mut snapshot = None;
        loop {
            match replace(&mut self.progress, Progress::NotStarted) {
                Progress::NotStarted => {
                    if let Scope::Id(id) = &self.scope
                        && let Some(all) = self.read_small_id(cache, open(&mut snapshot, cache)?, id)?
                    {
                        self.progress = Progress::Ended;
                        return Ok(Some(all));
                    }
                    self.progress = self.new_search();
                }
                Progress::Searching(mut search, mut last) => {
                    let found = open(&mut snapshot, cache)
                        .and_then(|snapshot| self.search(cache, snapshot, &mut search, &mut last, &mut budget));
                    if matches!(found, Ok(true)) {
                        self.window_size = self.window_size.saturating_mul(2);
                        self.progress = Progress::Reading(search.finish());
                    } else {
                        self.progress = Progress::Searching(search, last);
                        return found.map(|_| Some(Vec::new()));
                    }
                }
                Progress::Reading(mut window) => {
                    let list = self.read(cache, &mut window, &mut budget);
                    let more = window.ahead(0).is_some();
                    self.progress = match more {
                        _ if self.remaining == 0 => Progress::Ended,
                        true => Progress::Reading(window),
                        false if window.is_cut() => self.new_search(),
                        false => Progress::Ended,
                    };
                    let list = list?;
                    if more || !list.is_empty() {
                        return Ok(Some(list));
                    }
                }
                Progress::Ended => {
                    self.progress = Progress::Ended;
                    return Ok(None);
                }
            }
        }
    }
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listing(…)")
    }
}
