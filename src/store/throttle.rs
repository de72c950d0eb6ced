//! Throttles operations on very many sessions: they work in parts, one part at a time in the whole process, with a pause after
//! each.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::Error;

/// The longest pause. Why: a part that took longer waited for a store that is busy with something else.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The one permit that large operations share.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    permit: Arc<Semaphore>,
    deadline: Duration,
}

impl Throttle {
    /// `deadline` is how long a part may wait for the permit.
    pub(crate) fn new(deadline: Duration) -> Self {
        let permit = Arc::new(Semaphore::new(1));
        Self { permit, deadline }
    }

    /// Throttles an operation that may turn out to be large.
    pub(crate) fn operation(&self) -> Throttled {
        Throttled {
            throttle: self.clone(),
            begun: false,
        }
    }
}

/// One throttled operation.
#[derive(Debug)]
pub(crate) struct Throttled {
    throttle: Throttle,
    begun: bool,
}

impl Throttled {
    /// Waits until the next part may begin. The first part never waits, as most operations have no other. Fails with
    /// `storeUnavailable` at the deadline: the store does not keep up.
    pub(crate) async fn part(&mut self) -> Result<ThrottlePermit, Error> {
        let permit = if self.begun {
            let permit = self.throttle.permit.clone().acquire_owned();
            let permit = tokio::time::timeout(self.throttle.deadline, permit).await;
            Some(permit.ok().and_then(Result::ok).ok_or(Error::Unavailable)?)
        } else {
            self.begun = true;
            None
        };
        let began = Instant::now();
        Ok(ThrottlePermit { permit, began })
    }
}

/// A part that is under way. Dropped after a failure, it lets the next part begin at once.
#[derive(Debug)]
pub(crate) struct ThrottlePermit {
    permit: Option<OwnedSemaphorePermit>,
    began: Instant,
}

impl ThrottlePermit {
    /// Ends the part. The next part of any operation begins after a pause as long as this part took, so that other requests have
    /// the store to themselves half of the time, and wait for one part at most.
    pub(crate) fn release(self) {
        if let Some(permit) = self.permit {
            let pause = self.began.elapsed().min(LONGEST_PAUSE);
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                drop(permit);
            });
        }
    }
}
