//! What the log hears of a server: that it is away and back, once each, and now and then what it refuses.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The shortest time between two lines in the log about refused commands.
const QUIET: Duration = Duration::from_mins(1);

pub(super) struct Voice {
    /// ` at HOST:PORT` where there are several servers.
    at: String,
    /// Whether the last request could not reach Redis: only the changes are logged.
    away: AtomicBool,
    /// When a refusal was logged last.
    refused: Mutex<Option<Instant>>,
}

impl Voice {
    pub(super) fn of(at: String) -> Self {
        Self {
            at,
            away: AtomicBool::new(false),
            refused: Mutex::new(None),
        }
    }

    /// There is a reply.
    pub(super) fn answered(&self) {
        // Read before it is written: that is what most requests do.
        if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis{} is back", self.at);
        }
    }

    /// There is none.
    pub(super) fn gone(&self, reason: &str) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!("Redis{} is away: {reason}", self.at);
        }
    }

    /// A refusal may come with each request for hours: it is logged once in [`QUIET`].
    pub(super) fn refused(&self, reason: &str) {
        let now = Instant::now();
        let mut last = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| now - last >= QUIET) {
            *last = Some(now);
            tracing::warn!("Redis{} refuses a command: {reason}", self.at);
        }
    }
}
