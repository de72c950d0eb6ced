//! The pace of what is done to very many sessions: in parts, one at a time in the whole process, with a rest after each.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::Error;

/// The longest rest: a part that took longer waited for a store that had other troubles.
const LONGEST: Duration = Duration::from_millis(100);

/// The turn that large operations share.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    turn: Arc<Semaphore>,
    patience: Duration,
}

impl Throttle {
    /// `patience` is how long a part may wait for its turn.
    pub(crate) fn new(patience: Duration) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self { turn, patience }
    }

    /// An operation that may turn out to be large.
    pub(crate) fn operation(&self) -> Throttled {
        Throttled {
            throttle: self.clone(),
            begun: false,
        }
    }
}

/// The pace of one operation.
#[derive(Debug)]
pub(crate) struct Throttled {
    throttle: Throttle,
    begun: bool,
}

impl Throttled {
    /// Waits until the next part may begin. The first one may at once: most operations have no other. Fails with
    /// `storeUnavailable` if the store does not keep up.
    pub(crate) async fn part(&mut self) -> Result<ThrottlePermit, Error> {
        let turn = if self.begun {
            let turn = tokio::time::timeout(self.throttle.patience, self.throttle.turn.clone().acquire_owned());
            let turn = turn.await.ok().and_then(Result::ok);
            Some(turn.ok_or(Error::Unavailable)?)
        } else {
            self.begun = true;
            None
        };
        let begun = Instant::now();
        Ok(ThrottlePermit { turn, begun })
    }
}

/// A part that is under way. If it fails, the next one need not wait.
#[derive(Debug)]
pub(crate) struct ThrottlePermit {
    turn: Option<OwnedSemaphorePermit>,
    begun: Instant,
}

impl ThrottlePermit {
    /// The part is done. The next one, of whichever operation, begins after a rest as long as this part took: the others have
    /// the store to themselves for half of the time, and wait for one part at most.
    pub(crate) fn rest(self) {
        if let Some(turn) = self.turn {
            let rest = self.begun.elapsed().min(LONGEST);
            tokio::spawn(async move {
                tokio::time::sleep(rest).await;
                drop(turn);
            });
        }
    }
}

/// Yields the processor in a long piece of work. Why: a thread that never yields keeps it for a time slice of some
/// milliseconds, many times what a get takes.
///
/// Invariant: the work gets on. On a busy machine one yield lasts until all other threads had their time slices, so a yield
/// after each small step would stop the work for seconds. It works for as long as the last yield took, within bounds.
#[derive(Debug)]
pub(crate) struct Yielder {
    since: Instant,
    slice: Duration,
    worked: Duration,
}

impl Yielder {
    /// Work between two yields, at least and at most.
    const SLICES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            slice: Self::SLICES.0,
            worked: Duration::ZERO,
        }
    }

    /// To be called after each small step; yields where it is time to. Says how long the work has taken so far, without
    /// the yields.
    pub(crate) fn step(&mut self) -> Duration {
        let worked = self.since.elapsed();
        if worked >= self.slice {
            // A slice that took longer was interrupted.
            self.worked += worked.min(Self::SLICES.1);
            let yielded = Instant::now();
            thread::yield_now();
            self.since = Instant::now();
            self.slice = (self.since - yielded).clamp(Self::SLICES.0, Self::SLICES.1);
        }
        self.worked
    }
}
