//! Limits that operations share.

/// Maximum number of index entries that a list or the wiper reads in one visit to a blocking thread.
pub(super) const ENTRIES_PER_VISIT: usize = 8192;
