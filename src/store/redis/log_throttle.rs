//! A limit for log lines that could repeat with each request: at most one a minute.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The shortest time between two log lines of the same kind.
const QUIET: Duration = Duration::from_mins(1);

/// Lets one line in [`QUIET`] pass.
#[derive(Default)]
pub(crate) struct LogThrottle(Mutex<Option<Instant>>);

impl LogThrottle {
    /// Whether a line may be logged now.
    pub(crate) fn passes(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passes = last.is_none_or(|last| now - last >= QUIET);
        if passes {
            *last = Some(now);
        }
        passes
    }
}
