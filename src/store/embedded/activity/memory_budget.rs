//! The memory that all activity trackers share, counted in ids.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most memory that an id takes in a tracker, in bytes: 17 in a hash table that is at least 7/16 full.
pub(super) const ID_BYTES: u64 = 40;

/// How many more ids the trackers may hold.
#[derive(Debug)]
pub(super) struct MemoryBudget(AtomicUsize);

impl MemoryBudget {
    /// A budget of about `bytes`.
    pub(super) fn of_bytes(bytes: u64) -> Self {
        Self::of_ids(usize::try_from(bytes / ID_BYTES).unwrap_or(usize::MAX))
    }

    pub(super) fn of_ids(ids: usize) -> Self {
        Self(AtomicUsize::new(ids))
    }

    /// Takes memory for `ids` ids. False: there is not enough, and nothing was taken.
    pub(super) fn try_take(&self, ids: usize) -> bool {
        self.0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(ids))
            .is_ok()
    }

    pub(super) fn give_back(&self, ids: usize) {
        self.0.fetch_add(ids, Relaxed);
    }
}
