//! The sessions of one id, last active first.
//!
//! `APP:us:ID` is a set without an order. An id with few sessions is read by one script, at one moment. For others, a script at a time
//! looks at some members of the set (`SSCAN`) and replies when they were active; a [window](crate::store::list_window) keeps the
//! places that come next, whose records are then read in their order, a few at a time. No script keeps Redis from others for
//! more than a few milliseconds.

use std::{cmp::Reverse, collections::HashMap};

use deadpool_redis::redis::Value;

use crate::{
    session::{App, Cursor, Record, Seconds, Token, UserId},
    store::{
        BATCH_BYTES, Error, Key, ListQuery, Listed, SNAPSHOT, SNAPSHOT_BYTES,
        list_window::{MIN_WINDOW, Position, Window, WindowBudget, WindowSearch},
        redis::{
            decode::{self, of_id::Look},
            operations::limits::LIST,
            read_buffer::set_guard::SetGuard,
            store::Redis,
        },
    },
};

/// About how many members of a set one script looks at: it keeps Redis for a millisecond or two.
const LOOK: usize = 500;

/// How many looks one set may take: one for so many members, and so many besides, as a table that was larger once is looked
/// through in steps of some thousand empty places. Redis needs a tenth of either. A server that replies nonsense must not
/// keep a request for ever.
const MEMBERS: u64 = 50;
const LOOKS: u64 = 10_000;

/// The list of an id.
pub(crate) struct OfId {
    app: App,
    id: UserId,
    now: Seconds,
    /// The place of the last session that was looked at.
    after: Option<Cursor>,
    /// The most sessions that are still wanted.
    wanted: usize,
    budget: WindowBudget,
    state: State,
}

enum State {
    /// Nothing was read yet.
    Begun,
    /// The set is being looked at; where Redis goes on, and how often it was asked.
    Searching(WindowSearch, String, u64),
    Found(Window),
    Ended,
}

/// A session's token as Redis has it, and its record, if there is one that can be read.
type Found = (Vec<u8>, Option<Record>);

/// Which records of an id.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// All, if they are few and small.
    All,
    /// Those of the first places, as many as are not too large together.
    Places(&'a [Position]),
}

impl OfId {
    /// A list of which at most `most` sessions are wanted.
    pub(super) fn new(app: App, id: UserId, query: ListQuery, most: usize, budget: WindowBudget) -> Self {
        Self {
            app,
            id,
            now: query.now,
            after: query.after,
            wanted: most,
            budget,
            state: State::Begun,
        }
    }

    /// Gives memory back while nobody reads. The list goes on after the last session that it has answered.
    pub(crate) fn rest(&mut self) {
        if matches!(self.state, State::Searching(..) | State::Found(_)) {
            self.state = self.search();
        }
    }

    /// Whether everything was answered.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn search(&self) -> State {
        State::Searching(
            // Each window costs a look at all sessions of the id.
            WindowSearch::new(self.after, self.wanted.max(MIN_WINDOW), self.budget.clone()),
            "0".to_owned(),
            0,
        )
    }

    /// Takes in what a look at a set of so many members has found, and where the set goes on.
    async fn seen(&mut self, places: Vec<Position>, next: String, members: u64) -> Result<(), Error> {
        match std::mem::replace(&mut self.state, State::Begun) {
            State::Searching(mut search, place, looks) => {
                for place in places {
                    search.add(place);
                }
                self.state = match next.as_str() {
                    "0" => State::Found(finished(search).await?),
                    // No Redis goes round in circles.
                    _ if next == place || looks > LOOKS + members / MEMBERS => return Err(decode::nonsense::nonsense()),
                    _ => State::Searching(search, next, looks + 1),
                };
            }
            other => self.state = other,
        }
        Ok(())
    }

    /// The place of a session that is alive.
    fn place(&self, token: &[u8], last_active: Seconds, ttl: Seconds) -> Option<Position> {
        let alive = self.now.saturating_sub(last_active) <= ttl;
        Position::new(last_active, token).filter(|_| alive)
    }

    fn listed(&self, place: Option<Cursor>, (token, record): &Found) -> Option<Listed> {
        let record = record.as_ref().filter(|record| !record.expired(self.now))?;
        Some(Listed {
            cursor: place.unwrap_or_else(|| Cursor::new(record.last_active, token)),
            session: record.view(self.now),
        })
    }
}

impl Redis {
    /// The next sessions, `None` at the end; empty while their order is being found. After an error it may be asked again.
    pub(crate) async fn more_of_id(&self, list: &mut OfId) -> Result<Option<Vec<Listed>>, Error> {
        match &list.state {
            State::Begun => {
                if let Some(all) = self.snapshot(list).await? {
                    list.state = State::Ended;
                    return Ok(Some(all));
                }
                list.state = list.search();
                Ok(Some(Vec::new()))
            }
            State::Searching(_, place, _) => {
                let (next, members, places) = self.places(list, place).await?;
                list.seen(places, next, members).await?;
                Ok(Some(Vec::new()))
            }
            State::Found(_) => self.read_next(list).await,
            State::Ended => Ok(None),
        }
    }

    /// All sessions that follow, if the id has few, at one moment. `None`: there are too many.
    async fn snapshot(&self, list: &OfId) -> Result<Option<Vec<Listed>>, Error> {
        let Some(found) = self.read_counted(list.app, &list.id, Wanted::All).await? else {
            return Ok(None);
        };
        let all = found.iter().filter_map(|found| list.listed(None, found));
        let after = |listed: &Listed| list.after.is_none_or(|after| listed.cursor < after);
        let mut all: Vec<_> = all.filter(after).collect();
        all.sort_unstable_by_key(|listed| Reverse(listed.cursor));
        Ok(Some(all))
    }

    /// Some places of an id's sessions from a place of the set on, where the others are, and how many there are in all.
    async fn places(&self, list: &OfId, place: &str) -> Result<(String, u64, Vec<Position>), Error> {
        let (buffer, mut places, mut racing) = (&self.flusher.buffer, Vec::new(), Vec::new());
        let marks = buffer.marks();
        let Look { next, count, found } = self.times(list, place, &[]).await?;
        for (token, last_active, ttl) in found {
            let key = key_of(list.app, &token);
            let read = key.map_or(0, |key| buffer.last_active(&key));
            if read == 0 && key.is_some_and(|key| buffer.flushed_since(&key, &marks)) {
                racing.push(token);
            } else {
                places.extend(list.place(&token, last_active.max(read), ttl));
            }
        }
        if !racing.is_empty() {
            // A flush overlapped this read, and has ended: what was buffered is in Redis now.
            let again = self.times(list, "", &racing).await?;
            let found = again.found.iter();
            places.extend(found.filter_map(|(token, last_active, ttl)| {
                let read = key_of(list.app, token).map_or(0, |key| buffer.last_active(&key));
                list.place(token, read.max(*last_active), *ttl)
            }));
        }
        Ok((next, count, places))
    }

    /// When sessions were active last, as Redis knows it: some from a place of the set on, or those with some tokens.
    async fn times(&self, list: &OfId, place: &str, tokens: &[Vec<u8>]) -> Result<Look, Error> {
        let (app, id) = (list.app, list.id.as_str());
        let keys = self.shards.of_id(&app, id);
        let reply = self.topology.script(keys, &self.scripts.places, |cmd| {
            cmd.arg(1).arg(keys.tokens(&app, id)).arg(keys.session_prefix(&app));
            cmd.arg(place);
            if place.is_empty() {
                for token in tokens {
                    cmd.arg(token);
                }
            } else {
                cmd.arg(LOOK);
            }
        });
        decode::of_id::times(reply.await?, &self.metrics)
    }

    /// The records of the next places of a window.
    async fn read_next(&self, list: &mut OfId) -> Result<Option<Vec<Listed>>, Error> {
        let State::Found(window) = &list.state else {
            return Err(Error::Internal);
        };
        let most = LIST.min(list.wanted);
        let places: Vec<Position> = (0..most).map_while(|n| window.ahead(n).copied()).collect();
        if places.is_empty() {
            let more = window.is_cut() && list.wanted > 0;
            list.state = if more { list.search() } else { State::Ended };
            return Ok(more.then(Vec::new));
        }
        let found = self.read_counted(list.app, &list.id, Wanted::Places(&places)).await?;
        let found = found.unwrap_or_default();
        // As many as are not too large together, but one at least.
        let end = found.len().checked_sub(1).and_then(|end| places.get(end));
        let end = end.ok_or(Error::Unavailable)?.cursor();
        let listed = places.iter().zip(&found);
        let listed: Vec<_> = listed
            .filter_map(|(place, found)| list.listed(Some(place.cursor()), found))
            .collect();
        list.after = Some(end);
        list.wanted -= listed.len();
        if let State::Found(window) = &mut list.state {
            (0..found.len()).for_each(|_| _ = window.next());
        }
        Ok(Some(listed))
    }

    /// Reads records; `None` if there are too many.
    async fn read_records(&self, app: App, id: &UserId, wanted: Wanted<'_>) -> Result<Option<Vec<Found>>, Error> {
        let (id, keys) = (id.as_str(), self.shards.of_id(&app, id.as_str()));
        match wanted {
            Wanted::All => {
                let reply = self.topology.script(keys, &self.scripts.soid, |cmd| {
                    cmd.arg(1).arg(keys.tokens(&app, id)).arg(keys.session_prefix(&app));
                    cmd.arg(SNAPSHOT).arg(SNAPSHOT_BYTES);
                });
                match reply.await? {
                    Value::Int(1) => Ok(None),
                    reply => decode::of_id::tokens_and_records(reply, &self.metrics).map(Some),
                }
            }
            Wanted::Places(places) => {
                let reply = self.topology.script(keys, &self.scripts.records, |cmd| {
                    cmd.arg(1).arg(keys.tokens(&app, id)).arg(keys.session_prefix(&app));
                    cmd.arg(BATCH_BYTES);
                    for place in places {
                        cmd.arg(place.token());
                    }
                });
                let records = decode::of_id::records(reply.await?, &self.metrics)?;
                let found = places.iter().zip(records);
                Ok(Some(
                    found.map(|(place, record)| (place.token().to_vec(), record)).collect(),
                ))
            }
        }
    }

    /// The same, with the reads that Redis does not know of.
    ///
    /// Where a flush overlapped a read, the reply may or may not have the buffered reads. Then it reads again and keeps those
    /// sessions from being flushed meanwhile, so that the second time is clear for them, however often others are flushed.
    async fn read_counted(&self, app: App, id: &UserId, wanted: Wanted<'_>) -> Result<Option<Vec<Found>>, Error> {
        let buffer = &self.flusher.buffer;
        let mut held: HashMap<Key, SetGuard<'_>> = HashMap::new();
        loop {
            let marks = buffer.marks();
            let Some(mut found) = self.read_records(app, id, wanted).await? else {
                return Ok(None);
            };
            let mut racing = Vec::new();
            for (token, record) in &mut found {
                let (Some(key), Some(record)) = (key_of(app, token), record) else {
                    continue;
                };
                if let Some(hold) = held.get(&key) {
                    hold.take_in(record);
                } else if buffer.look(&key, buffer.mark_of(&marks, &key), record).is_err() {
                    racing.push(key);
                }
            }
            if racing.is_empty() {
                return Ok(Some(found));
            }
            for key in racing {
                held.insert(key, buffer.begin_set(key).await);
            }
        }
    }
}

/// The key of a session. A token of another form is a peer's: it was not read here.
fn key_of(app: App, token: &[u8]) -> Option<Key> {
    let token = Token::parse(std::str::from_utf8(token).ok()?).ok()?;
    Some(Key { app, token })
}

/// Sorting very many places takes too long for the threads that serve requests.
async fn finished(search: WindowSearch) -> Result<Window, Error> {
    if search.len() <= MIN_WINDOW {
        return Ok(search.finish());
    }
    let sorted = tokio::task::spawn_blocking(move || search.finish());
    sorted.await.map_err(|_| Error::Internal)
}

#[cfg(test)]
mod tests;
