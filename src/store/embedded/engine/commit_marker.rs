//! Marks the commit that is under way.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Tells whether a view of the engine may show a part of the commit that is under way.
///
/// Why: whenever a flush or a compaction ends, fjall makes everything visible that has a lower sequence number, which includes
/// what a commit under way has written so far, and what it has yet to write.
pub(super) struct CommitMarker(AtomicU64);

impl CommitMarker {
    /// No commit is under way.
    const NONE: u64 = u64::MAX;

    /// Records that a commit begins. `visible` is the sequence number that is visible before it.
    pub(super) fn begin(&self, visible: u64) {
        self.0.store(visible, SeqCst);
    }

    /// Records that the commit has ended, whatever its outcome.
    pub(super) fn end(&self) {
        self.0.store(Self::NONE, SeqCst);
    }

    /// Whether a view of this sequence number shows nothing of the commit under way.
    pub(super) fn excludes(&self, view: u64) -> bool {
        view <= self.0.load(SeqCst)
    }
}

impl Default for CommitMarker {
    fn default() -> Self {
        Self(AtomicU64::new(Self::NONE))
    }
}
