//! The result of a search: the first positions after a cursor.

use tokio::sync::OwnedSemaphorePermit;

use super::Position;

/// The first positions after a cursor, taken one after the other.
pub(crate) struct Window {
    /// In ascending order: the next position last.
    positions: Vec<Position>,
    cut: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Window {
    pub(super) fn new(positions: Vec<Position>, cut: bool, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            positions,
            cut,
            _permit: permit,
        }
    }

    /// The position that is `n` positions ahead, 0 for the next one.
    pub(crate) fn ahead(&self, n: usize) -> Option<&Position> {
        self.positions.len().checked_sub(n + 1).map(|at| &self.positions[at])
    }

    /// Takes the next position.
    pub(crate) fn next(&mut self) -> Option<Position> {
        self.positions.pop()
    }

    /// Whether more positions follow after this window.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }
}
