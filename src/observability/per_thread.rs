//! What all threads use with each request, apart for each of them: they would fight over a count that they share, and the more
//! of them there are the longer.

use std::{
    array,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How many parts there are: of more threads, some share one.
const PARTS: usize = 16;

/// The same thing, once for each thread.
#[derive(Debug)]
pub(crate) struct PerThread<T>([Slot<T>; PARTS]);

/// Alone in its lines of the processors' caches.
#[derive(Debug)]
#[repr(align(128))]
struct Slot<T>(T);

impl<T> PerThread<T> {
    pub(crate) fn new(mut part: impl FnMut() -> T) -> Self {
        Self(array::from_fn(|_| Slot(part())))
    }

    /// The part of this thread.
    pub(crate) fn mine(&self) -> &T {
        thread_local! {
            static NUMBER: usize = {
                static THREADS: AtomicUsize = AtomicUsize::new(0);
                THREADS.fetch_add(1, Ordering::Relaxed) % PARTS
            };
        }
        &self.0[NUMBER.with(|number| *number)].0
    }
}

/// What is counted in parts.
pub(crate) trait Count: Send {
    /// Adds what was counted to the whole.
    fn add_up(&mut self);
}

/// Counts that are kept in parts.
pub(crate) trait Counts: Send + Sync {
    /// Adds all parts to the whole.
    fn add_up(&self);
}

impl<T: Count> PerThread<Mutex<T>> {
    /// What this thread counts.
    pub(crate) fn count(&self) -> MutexGuard<'_, T> {
        lock(self.mine())
    }
}

impl<T: Count> Counts for PerThread<Mutex<T>> {
    fn add_up(&self) {
        for Slot(part) in &self.0 {
            lock(part).add_up();
        }
    }
}

/// A panic under the lock leaves a count that is short of one.
fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
