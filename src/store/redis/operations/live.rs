//! Hides sessions that have expired but are still stored.

use crate::session::{Record, Seconds};

/// The record; `None` if it has expired.
pub(super) fn live(record: Option<Record>, now: Seconds) -> Option<Record> {
    record.filter(|record| !record.expired(now))
}
