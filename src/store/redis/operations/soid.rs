//! Lists the sessions of one id, last active first.
//!
//! `APP:us:ID` is an unordered set. One script reads an id with few sessions at one moment. For larger ids, each script
//! looks at some members of the set (`SSCAN`) and returns when they were last active; a
//! [window](crate::store::list_window) keeps the positions that come next, and their records are then read in order, a
//! few at a time.
//!
//! Limit: no script blocks Redis for more than a few milliseconds.

mod id_list;
mod read;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

pub(super) use self::id_list::IdList;
use self::{id_list::IdListProgress, read::RecordSelection};
use crate::store::{
    Error, Listed,
    list_window::Position,
    redis::{operations::limits::RECORDS_PER_SCRIPT, store::Redis},
};

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
