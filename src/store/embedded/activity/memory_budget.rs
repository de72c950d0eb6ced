//! How many ids all watches together may know.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Room for so many ids.
pub(super) struct Room(AtomicUsize);

impl Room {
    pub(super) fn new(ids: usize) -> Self {
        Self(AtomicUsize::new(ids))
    }

    /// Takes room for so many; false if there is not enough.
    pub(super) fn take(&self, ids: usize) -> bool {
        self.0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(ids))
            .is_ok()
    }

    pub(super) fn give(&self, ids: usize) {
        self.0.fetch_add(ids, Relaxed);
    }
}
