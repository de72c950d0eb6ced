//! Searches an index for the positions that follow in a list.

use super::{Listing, Scope, part::PartBudget};
use crate::{
    session::{Cursor, Seconds, Token, UserId},
    store::{
        Error, Key,
        embedded::{
            cache::Cache,
            engine::{STEP, Snapshot},
        },
        list_window::{Position, WindowSearch},
    },
};

impl Listing {
    /// Searches from the entry after `last` on. True: the window is complete. False: the part has done enough.
    pub(super) fn search(
        &self,
        cache: &Cache,
        snapshot: &Snapshot<'_>,
        search: &mut WindowSearch,
        last: &mut Option<(Seconds, Token)>,
        budget: &mut PartBudget,
    ) -> Result<bool, Error> {
        match &self.scope {
            Scope::App { since } => self.search_app(cache, snapshot, *since, search, last, budget),
            Scope::Id(id) => self.search_id(cache, snapshot, id, search, last, budget),
        }
    }

    fn search_app(
        &self,
        cache: &Cache,
        snapshot: &Snapshot<'_>,
        since: Seconds,
        search: &mut WindowSearch,
        last: &mut Option<(Seconds, Token)>,
        budget: &mut PartBudget,
    ) -> Result<bool, Error> {
        let latest = self.after.map_or(Seconds::MAX, Cursor::second);
        let seconds = since.saturating_sub(STEP)..=latest;
        for entry in snapshot.latest_first(self.app, seconds, *last) {
            let entry = entry?;
            // The latest second at which the entry's session may have been active when the snapshot was opened. A session that
            // is used while the list is under way may be further ahead; it keeps this position.
            let horizon = entry.active.saturating_add(STEP - 1);
            if search.floor().is_some_and(|floor| floor.second() > horizon) {
                search.cut();
                return Ok(true);
            }
            *last = Some((entry.active, entry.key.token));
            if let Some(active) = cache.last_active(&entry.key, self.now)? {
                let second = active.min(horizon);
                if second >= since
                    && let Some(position) = Position::new(second, entry.key.token.as_bytes())
                {
                    search.add(position);
                }
            }
            if !budget.step() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn search_id(
        &self,
        cache: &Cache,
        snapshot: &Snapshot<'_>,
        id: &UserId,
        search: &mut WindowSearch,
        last: &mut Option<(Seconds, Token)>,
        budget: &mut PartBudget,
    ) -> Result<bool, Error> {
        for token in snapshot.tokens(self.app, id, last.map(|(_, token)| token)) {
            let token = token?;
            *last = Some((0, token));
            if let Some(second) = cache.last_active(&Key { app: self.app, token }, self.now)?
                && let Some(position) = Position::new(second, token.as_bytes())
            {
                search.add(position);
            }
            if !budget.step() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
