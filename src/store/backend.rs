//! The two backends behind a [`super::Store`].

use super::{embedded, embedded::Embedded, redis, redis::Redis, throttle::Throttled};
use crate::clock::Clock;

/// Where sessions live. A new backend is one more variant: the compiler then lists what it lacks.
#[derive(Debug)]
pub enum Backend {
    /// fjall in a folder of this process.
    Embedded(Embedded),
    /// Redis, in the layout of redis-sessions.
    Redis(Box<Redis>),
}

impl Backend {
    /// The clock that all instances on this backend share, if there is one.
    #[must_use]
    pub fn clock(&self) -> Option<Clock> {
        match self {
            Self::Embedded(_) => None,
            Self::Redis(redis) => Some(redis.clock()),
        }
    }
}

/// A list that is being read.
#[derive(Debug)]
pub struct Listing {
    /// The operation that reads it, as a metric label.
    pub(super) operation: &'static str,
    pub(super) backend: BackendListing,
}

#[derive(Debug)]
pub(super) enum BackendListing {
    Embedded(embedded::Listing),
    Redis(redis::RedisListing),
}

impl Listing {
    /// Frees the memory of the list while its client does not read. It resumes after the last session that was sent, as a new
    /// page would.
    pub fn release(&mut self) {
        match &mut self.backend {
            BackendListing::Embedded(listing) => listing.release(),
            BackendListing::Redis(listing) => listing.release(),
        }
    }

    pub(super) fn throttled(&mut self) -> Option<&mut Throttled> {
        match &mut self.backend {
            BackendListing::Embedded(listing) => listing.throttled(),
            BackendListing::Redis(listing) => listing.throttled(),
        }
    }
}
