//! The answer to a reply that Redis cannot have given.

use std::sync::LazyLock;

use crate::store::{Error, redis::log_throttle::LogThrottle};

/// The error for a reply that no script of ours gives: who answers is no Redis, or something in between mixes replies up.
/// Whether anything was done is not known.
pub(crate) fn nonsense() -> Error {
    static THROTTLE: LazyLock<LogThrottle> = LazyLock::new(LogThrottle::default);
    if THROTTLE.passes() {
        tracing::error!("Redis replies what no script replies: is a proxy or another server in between?");
    }
    Error::Unavailable
}
