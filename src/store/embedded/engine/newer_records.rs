//! Logs records that a newer version has written. Their requests get a 503, which must not fill the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::error;

/// Shortest time between two lines.
const INTERVAL: Duration = Duration::from_mins(1);

/// Logs at most one line per [`INTERVAL`].
#[derive(Default)]
pub(super) struct NewerRecords(Mutex<Option<Instant>>);

impl NewerRecords {
    /// A request has met such a record.
    pub(super) fn found(&self) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            *last = Some(Instant::now());
            error!(
                "a session record was written by a newer version of rest-sessions: requests for it get a 503; serve \
                 this data folder with the newer version"
            );
        }
    }
}
