//! The sessions of an app or an id, last active first, without more than a few of them in memory.
//!
//! A list holds no iterator and no reference to the engine between two parts, so a client that does not read pins nothing but a
//! window of places (see [`crate::store::list_window`]), and not even that for long. Each part looks at the index again, after the last
//! place or entry of the part before.

use std::{cmp::Reverse, time::Duration};

use crate::{
    session::{App, Cursor, Record, Seconds, Token, UserId},
    store::Error,
    store::embedded::{LOOK, cache::Cache, engine::STEP},
    store::{
        BATCH_BYTES, Key, ListQuery, Listed, SNAPSHOT, SNAPSHOT_BYTES,
        list_window::{MIN_WINDOW, Position, Window, WindowBudget, WindowSearch},
        throttle::{Throttled, Yielder},
    },
};

/// The most sessions in a part of a list.
const LIST: usize = 500;
/// About how long a part may work. Why: other large operations wait for it.
const PART: Duration = Duration::from_millis(10);
/// The same for the first part, which no other operation waits for. Why: most lists have no other, and then need not wait for a
/// turn among the long ones.
const FIRST: Duration = Duration::from_millis(100);

/// A list that is under way.
pub struct Listing {
    app: App,
    of: Of,
    now: Seconds,
    /// The place of the last session that was looked at.
    after: Option<Cursor>,
    /// The most sessions that are still wanted.
    wanted: usize,
    /// The most places of the next window.
    next: usize,
    budget: WindowBudget,
    pace: Throttled,
    /// How long the next part may work.
    part: Duration,
    state: State,
}

/// Whose sessions are listed.
enum Of {
    /// Those of the app that were active at or after a second.
    App(Seconds),
    Id(UserId),
}

enum State {
    /// Nothing was read yet.
    Begun,
    /// The index is being read, up to the last entry that was seen.
    Searching(WindowSearch, Option<(Seconds, Token)>),
    Found(Window),
    Ended,
}

/// Bounds the work of one part.
struct Effort {
    looks: usize,
    most: Duration,
    yielder: Yielder,
}

impl Effort {
    fn new(most: Duration) -> Self {
        Self {
            looks: LOOK,
            most,
            yielder: Yielder::new(),
        }
    }

    /// One more step. False: enough was done.
    fn goes_on(&mut self) -> bool {
        self.looks = self.looks.saturating_sub(1);
        self.yielder.step() < self.most && self.looks > 0
    }
}

impl Listing {
    /// Begins the list of an app. Reads must have been flushed.
    pub(crate) fn of_app(app: App, query: ListQuery, most: usize, budget: WindowBudget, pace: Throttled) -> Self {
        // A window doubles while the list goes on, so that its first sessions need not wait for the order of all.
        Self::new(app, Of::App(query.since), query, most, MIN_WINDOW, budget, pace)
    }

    /// Begins the list of an id; what it was used for last is of no matter.
    pub(crate) fn of_id(
        app: App,
        id: UserId,
        query: ListQuery,
        most: usize,
        budget: WindowBudget,
        pace: Throttled,
    ) -> Self {
        // Each window costs a look at all sessions of the id.
        Self::new(app, Of::Id(id), query, most, usize::MAX, budget, pace)
    }

    fn new(
        app: App,
        of: Of,
        query: ListQuery,
        most: usize,
        next: usize,
        budget: WindowBudget,
        pace: Throttled,
    ) -> Self {
        Self {
            app,
            of,
            now: query.now,
            after: query.after,
            wanted: most,
            next,
            budget,
            pace,
            part: FIRST,
            state: State::Begun,
        }
    }

    /// The pace of the next part, unless that is the end. Why: a short list has one part, and must not wait for a turn among the
    /// long ones to say so.
    pub(crate) fn pace(&mut self) -> Option<&mut Throttled> {
        (!self.ended()).then_some(&mut self.pace)
    }

    /// Whether everything was answered.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Gives memory back while nobody reads. The list goes on after the last session that it has answered.
    pub(crate) fn rest(&mut self) {
        if matches!(self.state, State::Searching(..) | State::Found(_)) {
            self.state = self.search();
        }
    }

    fn search(&self) -> State {
        let most = match self.of {
            // The smaller the window, the less of the index has to be read for it. Some sessions may be gone when their turn comes.
            Of::App(_) => self.wanted.saturating_add(16),
            // Each window costs a look at all sessions of the id.
            Of::Id(_) => self.wanted.max(MIN_WINDOW),
        };
        let most = most.min(self.next);
        State::Searching(WindowSearch::new(self.after, most, self.budget.clone()), None)
    }

    /// The next sessions, `None` at the end; empty while their order is being found. After an error it may be asked again.
    pub(crate) fn next(&mut self, cache: &Cache) -> Result<Option<Vec<Listed>>, Error> {
        let mut effort = Effort::new(std::mem::replace(&mut self.part, PART));
        loop {
            match std::mem::replace(&mut self.state, State::Begun) {
                State::Begun => {
                    if let Of::Id(id) = &self.of
                        && let Some(all) = self.snapshot(cache, id)?
                    {
                        self.state = State::Ended;
                        return Ok(Some(all));
                    }
                    self.state = self.search();
                }
                State::Searching(mut search, mut last) => {
                    let found = self.look(cache, &mut search, &mut last, &mut effort);
                    match found {
                        Ok(true) => {
                            self.next = self.next.saturating_mul(2);
                            self.state = State::Found(search.finish());
                        }
                        Ok(false) => {
                            self.state = State::Searching(search, last);
                            return Ok(Some(Vec::new()));
                        }
                        Err(error) => {
                            self.state = State::Searching(search, last);
                            return Err(error);
                        }
                    }
                }
                State::Found(mut window) => {
                    let list = self.read(cache, &mut window, &mut effort);
                    let more = window.ahead(0).is_some();
                    self.state = match more {
                        _ if self.wanted == 0 => State::Ended,
                        true => State::Found(window),
                        false if window.is_cut() => self.search(),
                        false => State::Ended,
                    };
                    let list = list?;
                    if more || !list.is_empty() {
                        return Ok(Some(list));
                    }
                }
                State::Ended => {
                    self.state = State::Ended;
                    return Ok(None);
                }
            }
        }
    }

    /// All sessions of an id that follow, if it has few: the tokens as they were at one moment. `None`: there are too many.
    fn snapshot(&self, cache: &Cache, id: &UserId) -> Result<Option<Vec<Listed>>, Error> {
        let (mut list, mut bytes) = (Vec::new(), 0);
        for (n, token) in cache.disk.tokens(self.app, id, None)?.enumerate() {
            let key = Key {
                app: self.app,
                token: token?,
            };
            if n == SNAPSHOT || bytes > SNAPSHOT_BYTES {
                return Ok(None);
            }
            let Some(stored) = cache.peek(&key)?.filter(|stored| !stored.record.expired(self.now)) else {
                continue;
            };
            let cursor = Cursor::new(stored.record.last_active, key.token.as_bytes());
            if self.after.is_none_or(|after| cursor < after) {
                bytes += size(&stored.record);
                list.push(Listed {
                    cursor,
                    session: stored.record.view(self.now),
                });
            }
        }
        list.sort_unstable_by_key(|listed| Reverse(listed.cursor));
        Ok(Some(list))
    }

    /// Looks at the index from the last entry on. True: everything that matters was seen.
    fn look(
        &self,
        cache: &Cache,
        search: &mut WindowSearch,
        last: &mut Option<(Seconds, Token)>,
        effort: &mut Effort,
    ) -> Result<bool, Error> {
        match &self.of {
            Of::App(since) => self.look_at_app(cache, *since, search, last, effort),
            Of::Id(id) => self.look_at_id(cache, id, search, last, effort),
        }
    }

    fn look_at_app(
        &self,
        cache: &Cache,
        since: Seconds,
        search: &mut WindowSearch,
        last: &mut Option<(Seconds, Token)>,
        effort: &mut Effort,
    ) -> Result<bool, Error> {
        let latest = self.after.map_or(Seconds::MAX, Cursor::second);
        let seconds = since.saturating_sub(STEP)..=latest;
        for entry in cache.disk.active(self.app, seconds, *last)? {
            let entry = entry?;
            // A session may be active up to a step later than its entry. One that was used since the list began may be
            // further ahead; it stays where it was.
            let horizon = entry.active.saturating_add(STEP - 1);
            if search.floor().is_some_and(|floor| floor.second() > horizon) {
                search.cut();
                return Ok(true);
            }
            *last = Some((entry.active, entry.key.token));
            if let Some(active) = cache.last_active(&entry.key, self.now)? {
                let second = active.min(horizon);
                if second >= since
                    && let Some(place) = Position::new(second, entry.key.token.as_bytes())
                {
                    search.add(place);
                }
            }
            if !effort.goes_on() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn look_at_id(
        &self,
        cache: &Cache,
        id: &UserId,
        search: &mut WindowSearch,
        last: &mut Option<(Seconds, Token)>,
        effort: &mut Effort,
    ) -> Result<bool, Error> {
        for token in cache.disk.tokens(self.app, id, last.map(|(_, token)| token))? {
            let token = token?;
            *last = Some((0, token));
            if let Some(second) = cache.last_active(&Key { app: self.app, token }, self.now)?
                && let Some(place) = Position::new(second, token.as_bytes())
            {
                search.add(place);
            }
            if !effort.goes_on() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the records of the next places.
    fn read(&mut self, cache: &Cache, window: &mut Window, effort: &mut Effort) -> Result<Vec<Listed>, Error> {
        let (mut list, mut bytes) = (Vec::new(), 0);
        while list.len() < LIST.min(self.wanted)
            && bytes < BATCH_BYTES
            && let Some(place) = window.ahead(0)
        {
            let (cursor, token) = (place.cursor(), place.parsed());
            let key = token.map(|token| Key { app: self.app, token });
            let stored = match key.map_or(Ok(None), |key| cache.peek(&key)) {
                // The next part meets it again.
                Err(_) if !list.is_empty() => break,
                stored => stored?,
            };
            if let Some(stored) = stored.filter(|stored| !stored.record.expired(self.now)) {
                bytes += size(&stored.record);
                list.push(Listed {
                    cursor,
                    session: stored.record.view(self.now),
                });
            }
            window.next();
            self.after = Some(cursor);
            if !effort.goes_on() {
                break;
            }
        }
        self.wanted -= list.len();
        Ok(list)
    }
}

/// The bytes of a record's data.
fn size(record: &Record) -> usize {
    record.data.as_ref().map_or(0, |data| data.as_str().len())
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listing(…)")
    }
}
