//! The search for a window: a bounded heap of the greatest positions after a cursor.

use std::{cmp::Reverse, collections::BinaryHeap};

use tokio::sync::OwnedSemaphorePermit;

use super::{MIN_WINDOW, Position, Window, WindowBudget};
use crate::session::Cursor;

/// The first positions after a cursor, while a list looks at all of them.
pub(crate) struct WindowSearch {
    after: Option<Cursor>,
    /// The least position on top.
    pub(super) heap: BinaryHeap<Reverse<Position>>,
    /// How many positions the heap may have so far.
    pub(super) granted: usize,
    /// How many it may ever have.
    limit: usize,
    budget: WindowBudget,
    permit: Option<OwnedSemaphorePermit>,
    /// Whether positions that follow were left out.
    pub(super) cut: bool,
}

impl WindowSearch {
    /// Searches for the first `limit` positions after a cursor, or for as many as the budget grants.
    pub(crate) fn new(after: Option<Cursor>, limit: usize, budget: WindowBudget) -> Self {
        Self {
            after,
            heap: BinaryHeap::new(),
            granted: MIN_WINDOW.min(limit.max(1)),
            limit: limit.max(1),
            budget,
            permit: None,
            cut: false,
        }
    }

    /// Adds a position if it comes after the cursor. A full heap drops the position that comes last.
    pub(crate) fn add(&mut self, position: Position) {
        if self.after.is_some_and(|after| position.cursor() >= after) {
            return;
        }
        if self.heap.len() == self.granted && !self.grow() {
            self.cut = true;
            if let Some(mut least) = self.heap.peek_mut()
                && least.0 < position
            {
                *least = Reverse(position);
            }
            return;
        }
        if self.heap.len() == self.heap.capacity() {
            // Why: the usual doubling could take more memory than granted.
            let more = self.heap.len().max(64);
            self.heap.reserve_exact(more.min(self.granted - self.heap.len()));
        }
        self.heap.push(Reverse(position));
    }

    /// How many positions were found and kept so far.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The least position that still fits into the window. `None` while the window has place for any.
    pub(crate) fn floor(&self) -> Option<&Position> {
        let full = self.cut || self.heap.len() >= self.limit;
        self.heap.peek().filter(|_| full).map(|least| &least.0)
    }

    /// Records that the list has not looked at all positions that follow.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    /// Doubles the heap within its limit and the budget. False if that is not possible.
    fn grow(&mut self) -> bool {
        let more = self.granted.min(self.limit - self.granted);
        let granted = if more > 0 { self.budget.grant(more) } else { None };
        let Some(granted) = granted else {
            return false;
        };
        match &mut self.permit {
            Some(permit) => permit.merge(granted),
            none => *none = Some(granted),
        }
        self.granted += more;
        true
    }

    /// Ends the search. A session that was found twice is in the window once, at the later of its positions.
    pub(crate) fn finish(self) -> Window {
        let mut positions: Vec<_> = self.heap.into_iter().map(|position| position.0).collect();
        positions.sort_unstable_by(|a, b| a.token().cmp(b.token()).then(b.cmp(a)));
        positions.dedup_by(|later, first| later.token() == first.token());
        positions.sort_unstable();
        Window::new(positions, self.cut, self.permit)
    }
}
