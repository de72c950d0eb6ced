//! Counts the ids of an app that were active recently, for the operation `activity`.
//!
//! - [`Trackers`] holds one tracker for each app whose activity was asked for of late. A tracker takes events (gets, sets,
//!   creates, removals) and answers counts from memory.
//! - [`scan`] reads the index of activity: once to fill a tracker, and for each count of an app without one.
//!
//! Exactness: an app is tracked before reads are flushed, and they are flushed before the scan begins. So each change reaches
//! the tracker as an event, or the scan, or both; the later second counts. An id is removed with its last session, and what the
//! running scan still finds of it is dropped as outdated.
//!
//! Limits: trackers share a [`MemoryBudget`](memory_budget::MemoryBudget). An app with more ids than fit is scanned for each
//! count. An index entry may lag behind its session by less than [`STEP`](super::engine::STEP) seconds; where that decides
//! whether an id counts, the scan reads the session's record: see [`Tracker::begin_scan`](tracker::Tracker::begin_scan).

mod app_tracker;
mod histogram;
mod memory_budget;
pub(crate) mod scan;
#[cfg(test)]
mod tests;
mod tracker;
mod trackers;

pub(crate) use self::trackers::Trackers;
