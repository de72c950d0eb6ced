//! The state of a list of an id between two of its parts.

use crate::{
    session::{App, Cursor, Record, Seconds, UserId, expired},
    store::{
        Error, ListQuery, Listed,
        list_window::{MIN_WINDOW, Position, Window, WindowBudget, WindowSearch},
        redis::decode::nonsense::nonsense,
    },
};

/// The most `SSCAN` calls for one set: one for each `MEMBERS_PER_SCAN` members, and `EXTRA_SCANS` besides, because a
/// hash table that was larger once is scanned in steps of some thousand empty buckets. Redis needs a tenth of either.
///
/// Why: a server that replies nonsense must not keep a request for ever.
const MEMBERS_PER_SCAN: u64 = 50;
const EXTRA_SCANS: u64 = 10_000;

/// A session's token as Redis has it, and its record, if that is readable.
pub(super) type TokenRecord = (Vec<u8>, Option<Record>);

/// The list of an id that is under way.
pub(crate) struct IdList {
    pub(super) app: App,
    pub(super) id: UserId,
    pub(super) now: Seconds,
    /// The position of the last session that was looked at.
    pub(super) after: Option<Cursor>,
    /// The most sessions that are still wanted.
    pub(super) wanted: usize,
    pub(super) budget: WindowBudget,
    pub(super) progress: IdListProgress,
}

pub(super) enum IdListProgress {
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
    pub(in crate::store::redis::operations) fn new(
        app: App,
        id: UserId,
        query: ListQuery,
        most: usize,
        budget: WindowBudget,
    ) -> Self {
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

    pub(super) fn search(&self) -> IdListProgress {
        IdListProgress::Searching(
            // A large window, because each one costs a scan of all sessions of the id.
            WindowSearch::new(self.after, self.wanted.max(MIN_WINDOW), self.budget.clone()),
            "0".to_owned(),
            0,
        )
    }

    /// Adds the positions that a scan of a set with `members` members found, and continues at `next_cursor`.
    pub(super) async fn add_scanned(
        &mut self,
        positions: Vec<Position>,
        next_cursor: String,
        members: u64,
    ) -> Result<(), Error> {
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
    pub(super) fn position(&self, token: &[u8], last_active: Seconds, ttl: Seconds) -> Option<Position> {
        Position::new(last_active, token).filter(|_| !expired(last_active, ttl, self.now))
    }

    pub(super) fn listed(&self, position: Option<Cursor>, (token, record): &TokenRecord) -> Option<Listed> {
        let record = record.as_ref().filter(|record| !record.expired(self.now))?;
        Some(Listed {
            cursor: position.unwrap_or_else(|| Cursor::new(record.last_active, token)),
            session: record.view(self.now),
        })
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
