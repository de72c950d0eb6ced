//! The memory that the windows of a store's lists share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Position;

/// Positions that every window may have, whatever other windows hold.
pub(crate) const MIN_WINDOW: usize = 2048;

/// The most positions of all larger windows together: 64 MiB.
pub(super) const TOTAL: usize = 64 * 1024 * 1024 / size_of::<Position>();

/// The memory that all larger windows of a store share, counted in positions.
#[derive(Clone, Debug)]
pub(crate) struct WindowBudget(pub(super) Arc<Semaphore>);

impl WindowBudget {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL)))
    }

    /// Grants memory for more positions. `None` if less than that would be left for other windows.
    pub(super) fn grant(&self, positions: usize) -> Option<OwnedSemaphorePermit> {
        let enough = self.0.available_permits() / 2 >= positions;
        let count = u32::try_from(positions).ok().filter(|_| enough)?;
        self.0.clone().try_acquire_many_owned(count).ok()
    }
}
