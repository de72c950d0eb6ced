//! Limits that several operations share.

/// The most records that one script reads: it blocks Redis for about a millisecond.
pub(crate) const RECORDS_PER_SCRIPT: usize = 200;
