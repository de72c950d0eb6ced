//! What the log hears of a server: that it is away and back, once each, and now and then what it refuses.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The shortest time between two lines in the log of the same kind.
const QUIET: Duration = Duration::from_mins(1);

/// Lets one line in [`QUIET`] pass.
#[derive(Default)]
pub(super) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// Whether the line may pass.
    pub(super) fn passes(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passes = last.is_none_or(|last| now - last >= QUIET);
        if passes {
            *last = Some(now);
        }
        passes
    }
}

pub(super) struct Voice {
    /// ` at HOST:PORT` where there are several servers.
    at: String,
    /// Whether the last request could not reach Redis: only the changes are logged.
    away: AtomicBool,
    refused: Throttle,
    /// For servers that only others tell of: all of them together may say once a minute that they are away.
    strangers: Option<Arc<Throttle>>,
}

impl Voice {
    pub(super) fn of(at: String) -> Self {
        Self {
            at,
            away: AtomicBool::new(false),
            refused: Throttle::default(),
            strangers: None,
        }
    }

    /// The same for a server that only others tell of.
    pub(super) fn of_stranger(at: String, strangers: Arc<Throttle>) -> Self {
        Self {
            strangers: Some(strangers),
            ..Self::of(at)
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
        let told = || self.strangers.as_ref().is_none_or(|strangers| strangers.passes());
        if !self.away.swap(true, Ordering::Relaxed) && told() {
            tracing::warn!("Redis{} is away: {reason}", self.at);
        }
    }

    /// A refusal may come with each request for hours: it is logged once in [`QUIET`].
    pub(super) fn refused(&self, reason: &str) {
        if self.refused.passes() {
            tracing::warn!("Redis{} refuses a command: {reason}", self.at);
        }
    }
}
