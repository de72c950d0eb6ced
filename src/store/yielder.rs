//! Yields the processor in long pieces of work that run on a thread.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Yields the processor in a long piece of work. Why: a thread that never yields keeps its processor for a time slice of some
/// milliseconds, many times what a get takes.
///
/// Invariant: the work makes progress. On a busy machine one yield lasts until all other threads had their time slices, so a
/// yield after each small step would stop the work for seconds. It works for as long as the last yield took, within bounds.
#[derive(Debug)]
pub(crate) struct Yielder {
    since: Instant,
    slice: Duration,
    worked: Duration,
}

impl Yielder {
    /// The shortest and the longest work between two yields.
    const SLICES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            slice: Self::SLICES.0,
            worked: Duration::ZERO,
        }
    }

    /// Yields if it is time to. Call it after each small step. Answers how long the work has taken so far, without the yields.
    pub(crate) fn step(&mut self) -> Duration {
        let worked = self.since.elapsed();
        if worked >= self.slice {
            // Why bounded: a longer slice was interrupted by other threads.
            self.worked += worked.min(Self::SLICES.1);
            let yielded = Instant::now();
            thread::yield_now();
            self.since = Instant::now();
            self.slice = (self.since - yielded).clamp(Self::SLICES.0, Self::SLICES.1);
        }
        self.worked
    }
}
