//! What the log hears of a server: that it is away and back, once each, and now and then what it refuses.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::store::redis::log_throttle::LogThrottle;

pub(crate) struct AvailabilityLog {
    /// ` at HOST:PORT` where there are several servers.
    at: String,
    /// Whether the last request could not reach Redis: only the changes are logged.
    away: AtomicBool,
    refused: LogThrottle,
    /// For servers that only others tell of: all of them together may say once a minute that they are away.
    strangers: Option<Arc<LogThrottle>>,
}

impl AvailabilityLog {
    pub(crate) fn of(at: String) -> Self {
        Self {
            at,
            away: AtomicBool::new(false),
            refused: LogThrottle::default(),
            strangers: None,
        }
    }

    /// The same for a server that only others tell of.
    pub(crate) fn of_stranger(at: String, strangers: Arc<LogThrottle>) -> Self {
        Self {
            strangers: Some(strangers),
            ..Self::of(at)
        }
    }

    /// There is a reply.
    pub(crate) fn answered(&self) {
        // Read before it is written: that is what most requests do.
        if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis{} is back", self.at);
        }
    }

    /// There is none.
    pub(crate) fn gone(&self, reason: &str) {
        let told = || self.strangers.as_ref().is_none_or(|strangers| strangers.passes());
        if !self.away.swap(true, Ordering::Relaxed) && told() {
            tracing::warn!("Redis{} is away: {reason}", self.at);
        }
    }

    /// A refusal may come with each request for hours: it is logged once in [`QUIET`].
    pub(crate) fn refused(&self, reason: &str) {
        if self.refused.passes() {
            tracing::warn!("Redis{} refuses a command: {reason}", self.at);
        }
    }
}
