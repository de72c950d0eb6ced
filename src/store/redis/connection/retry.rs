//! When a command may be sent again, and why there is no reply to one.

use std::io;

use deadpool_redis::redis::RedisError;

/// Whether a command may be sent again on another connection, and when its wait for a reply ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryPolicy {
    /// Never: Redis may have applied it. It waits for the whole timeout.
    Never,
    /// After half the timeout, which leaves the other half for the second attempt.
    AfterHalf,
    /// As `AfterHalf`, but it yields as soon as the connection is given up. For commands on which reads of other
    /// connections wait.
    Yield,
}

/// Why there is no reply.
pub(crate) enum NoReply {
    /// The connection had ended before anything was sent.
    NotSent,
    /// No reply came in time.
    Late,
    /// The connection has ended; Redis may have applied the commands.
    Ended(RedisError),
}

impl NoReply {
    /// The connection was reset.
    pub(crate) fn reset() -> Self {
        Self::Ended(io::Error::from(io::ErrorKind::ConnectionReset).into())
    }
}

impl From<NoReply> for RedisError {
    fn from(reason: NoReply) -> Self {
        match reason {
            NoReply::NotSent => io::Error::from(io::ErrorKind::ConnectionReset).into(),
            NoReply::Late => io::Error::from(io::ErrorKind::TimedOut).into(),
            NoReply::Ended(error) => error,
        }
    }
}
