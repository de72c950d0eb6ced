//! Limits that several operations share.

/// The most sessions that one script reads: Redis serves nobody else for the millisecond that it takes.
pub(crate) const LIST: usize = 200;
