//! The pace of what is done to very many sessions.

use std::{
    thread,
    time::{Duration, Instant},
};

/// The longest rest: a part that took longer waited for a store that had other troubles.
const LONGEST: Duration = Duration::from_millis(100);

/// Rests after each part of a large operation for as long as that part took. The others have the store to themselves for half
/// of the time, and wait for one part at most.
pub(crate) struct Pace {
    begun: Instant,
}

impl Pace {
    /// The first part begins.
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now() }
    }

    /// A part has ended; returns when the next may begin.
    pub(crate) async fn rest(&mut self) {
        tokio::time::sleep(self.begun.elapsed().min(LONGEST)).await;
        self.begun = Instant::now();
    }
}

/// Lets threads that wait for a processor go first. A thread that has much to do would otherwise keep it for the few
/// milliseconds of its time slice, which is many times what a get takes.
pub(crate) fn give_way() {
    thread::yield_now();
}
