//! The error for replies that no script of ours returns.

use std::sync::LazyLock;

use crate::store::{Error, redis::log_throttle::LogThrottle};

/// Logs the reply, at most once a minute, and returns the error: the server is not Redis, or a proxy mixes replies up.
/// Whether a change was applied is unknown.
pub(crate) fn nonsense() -> Error {
    static THROTTLE: LazyLock<LogThrottle> = LazyLock::new(LogThrottle::default);
    if THROTTLE.passes() {
        tracing::error!("Redis replies what no script replies: is a proxy or another server in between?");
    }
    Error::Unavailable
}
