//! Logs when a server becomes unreachable or reachable again, and refused commands at most once a minute.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::store::redis::log_throttle::LogThrottle;

/// The log of one server.
pub(crate) struct AvailabilityLog {
    /// ` at HOST:PORT` if there are several servers.
    at: String,
    /// Whether the last request could not reach the server. Only changes are logged.
    unreachable: AtomicBool,
    refused: LogThrottle,
    /// Shared by all servers that only redirects name: together they log once a minute that they are unreachable.
    redirected: Option<Arc<LogThrottle>>,
}

impl AvailabilityLog {
    pub(crate) fn new(at: String) -> Self {
        Self {
            at,
            unreachable: AtomicBool::new(false),
            refused: LogThrottle::default(),
            redirected: None,
        }
    }

    /// The log of a server that only redirects name.
    pub(crate) fn of_redirected(at: String, redirected: Arc<LogThrottle>) -> Self {
        Self {
            redirected: Some(redirected),
            ..Self::new(at)
        }
    }

    /// A reply has arrived.
    pub(crate) fn reachable(&self) {
        // Why the load: a swap with each reply would move the cache line between threads.
        if self.unreachable.load(Ordering::Relaxed) && self.unreachable.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis{} is reachable again", self.at);
        }
    }

    /// No reply has arrived.
    pub(crate) fn unreachable(&self, reason: &str) {
        let may_log = || self.redirected.as_ref().is_none_or(|throttle| throttle.passes());
        if !self.unreachable.swap(true, Ordering::Relaxed) && may_log() {
            tracing::warn!("Redis{} is unreachable: {reason}", self.at);
        }
    }

    /// The server has refused a command.
    pub(crate) fn refused(&self, reason: &str) {
        if self.refused.passes() {
            tracing::warn!("Redis{} refuses a command: {reason}", self.at);
        }
    }
}
