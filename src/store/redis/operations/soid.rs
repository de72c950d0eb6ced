//! Lists the sessions of one id, last active first.
//!
//! `APP:us:ID` is an unordered set. One script reads an id with few sessions at one moment. For larger ids, each script
//! looks at some members of the set (`SSCAN`) and returns when they were last active; a
//! [window](crate::store::list_window) keeps the positions that come next, and their records are then read in order, a
//! few at a time.
//!
//! Limit: no script blocks Redis for more than a few milliseconds.

mod read;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use self::read::{RecordSelection, TokenRecord};
use crate::{
    session::{App, Cursor, Seconds, UserId, expired},
    store::{
        Error, ListQuery, Listed,
        list_window::{MIN_WINDOW, Position, Window, WindowBudget, WindowSearch},
        redis::{decode::nonsense::nonsense, operations::limits::RECORDS_PER_SCRIPT, store::Redis},
    },
};

/// The most `SSCAN` calls for one set: one for each `MEMBERS_PER_SCAN` members, and `EXTRA_SCANS` besides, because a
/// hash table that was larger once is scanned in steps of some thousand empty buckets. Redis needs a tenth of either.
///
/// Why: a server that replies nonsense must not keep a request for ever.
const MEMBERS_PER_SCAN: u64 = 50;
const EXTRA_SCANS: u64 = 10_000;

/// The list of an id that is under way.
pub(crate) struct IdList {
    app: App,
    id: UserId,
    now: Seconds,
    /// The position of the last session that was looked at.
    after: Option<Cursor>,
    /// The most sessions that are still wanted.
    wanted: usize,
    budget: WindowBudget,
    progress: IdListProgress,
}

enum IdListProgress {
    /// Nothing was read yet.
    Started,
    /// The set is being scanned: the `SSCAN` cursor, and the number of calls.
    Searching(WindowSearch, String, u64),
    /// The next positions are known.
    Found(Window),
    /// Everything was returned.
    Ended,
}

impl IdList {
    /// A list of at most `most` sessions.
    pub(super) fn new(app: App, id: UserId, query: ListQuery, most: usize, budget: WindowBudget) -> Self {
        Self {
            app,
            id,
            now: query.now,
            after: query.after,
            wanted: most,
            budget,
            progress: IdListProgress::Started,
        }
    }

    /// Frees memory while the client does not read. The list continues after the last session that it returned.
    pub(crate) fn release(&mut self) {
        if matches!(self.progress, IdListProgress::Searching(..) | IdListProgress::Found(_)) {
            self.progress = self.search();
        }
    }

    /// Whether everything was returned.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.progress, IdListProgress::Ended)
    }

    fn search(&self) -> IdListProgress {
        IdListProgress::Searching(
            // A large window, because each one costs a scan of all sessions of the id.
            WindowSearch::new(self.after, self.wanted.max(MIN_WINDOW), self.budget.clone()),
            "0".to_owned(),
            0,
        )
    }

    /// Adds the positions that a scan of a set with `members` members found, and continues at `next_cursor`.
    async fn add_scanned(&mut self, positions: Vec<Position>, next_cursor: String, members: u64) -> Result<(), Error> {
        match std::mem::replace(&mut self.progress, IdListProgress::Started) {
            IdListProgress::Searching(mut search, cursor, scans) => {
                for position in positions {
                    search.add(position);
                }
                self.progress = match next_cursor.as_str() {
                    "0" => IdListProgress::Found(finish(search).await?),
                    // Redis never returns the cursor that it was given.
                    _ if next_cursor == cursor || scans > EXTRA_SCANS + members / MEMBERS_PER_SCAN => {
                        return Err(nonsense());
                    }
                    _ => IdListProgress::Searching(search, next_cursor, scans + 1),
                };
            }
            other => self.progress = other,
        }
        Ok(())
    }

    /// The position of a session, unless it has expired.
    fn position(&self, token: &[u8], last_active: Seconds, ttl: Seconds) -> Option<Position> {
        Position::new(last_active, token).filter(|_| !expired(last_active, ttl, self.now))
    }

    fn listed(&self, position: Option<Cursor>, (token, record): &TokenRecord) -> Option<Listed> {
        let record = record.as_ref().filter(|record| !record.expired(self.now))?;
        Some(Listed {
            cursor: position.unwrap_or_else(|| Cursor::new(record.last_active, token)),
            session: record.view(self.now),
        })
    }
}

impl Redis {
    /// The next sessions; empty while their order is being found, `None` at the end. After an error, the call may be
    /// repeated.
    pub(crate) async fn next_part_of_id(&self, list: &mut IdList) -> Result<Option<Vec<Listed>>, Error> {
        match &list.progress {
            IdListProgress::Started => {
                if let Some(all) = self.read_all_at_once(list).await? {
                    list.progress = IdListProgress::Ended;
                    return Ok(Some(all));
                }
                list.progress = list.search();
                Ok(Some(Vec::new()))
            }
            IdListProgress::Searching(_, cursor, _) => {
                let (next_cursor, members, positions) = self.scan_positions(list, cursor).await?;
                list.add_scanned(positions, next_cursor, members).await?;
                Ok(Some(Vec::new()))
            }
            IdListProgress::Found(_) => self.read_next(list).await,
            IdListProgress::Ended => Ok(None),
        }
    }

    /// All sessions that follow, as they were at one moment; `None` if the id has too many.
    async fn read_all_at_once(&self, list: &IdList) -> Result<Option<Vec<Listed>>, Error> {
        let Some(found) = self.read_with_buffer(list.app, &list.id, RecordSelection::All).await? else {
            return Ok(None);
        };
        let all = found.iter().filter_map(|found| list.listed(None, found));
        let follows = |listed: &Listed| list.after.is_none_or(|after| listed.cursor < after);
        let mut all: Vec<_> = all.filter(follows).collect();
        all.sort_unstable_by_key(|listed| Reverse(listed.cursor));
        Ok(Some(all))
    }

    /// The sessions at the next positions of a window.
    async fn read_next(&self, list: &mut IdList) -> Result<Option<Vec<Listed>>, Error> {
        let IdListProgress::Found(window) = &list.progress else {
            return Err(Error::Internal);
        };
        let most = RECORDS_PER_SCRIPT.min(list.wanted);
        let positions: Vec<Position> = (0..most).map_while(|n| window.ahead(n).copied()).collect();
        if positions.is_empty() {
            let more = window.is_cut() && list.wanted > 0;
            list.progress = if more { list.search() } else { IdListProgress::Ended };
            return Ok(more.then(Vec::new));
        }
        let selection = RecordSelection::At(&positions);
        let found = self.read_with_buffer(list.app, &list.id, selection).await?;
        let found = found.unwrap_or_default();
        // The script stops at a size limit, but returns at least one record.
        let end = found.len().checked_sub(1).and_then(|end| positions.get(end));
        let end = end.ok_or(Error::Unavailable)?.cursor();
        let listed = positions.iter().zip(&found);
        let listed: Vec<_> = listed
            .filter_map(|(position, found)| list.listed(Some(position.cursor()), found))
            .collect();
        list.after = Some(end);
        list.wanted -= listed.len();
        if let IdListProgress::Found(window) = &mut list.progress {
            (0..found.len()).for_each(|_| _ = window.next());
        }
        Ok(Some(listed))
    }
}

/// Sorts the window; a large one on a blocking thread, as it would delay other requests.
async fn finish(search: WindowSearch) -> Result<Window, Error> {
    if search.len() <= MIN_WINDOW {
        return Ok(search.finish());
    }
    let sorted = tokio::task::spawn_blocking(move || search.finish());
    sorted.await.map_err(|_| Error::Internal)
}
