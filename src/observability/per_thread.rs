//! One copy of a value for each thread, padded to a cache line, so that threads do not contend for its reference count.

use std::{
    array,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Number of copies. More threads than that share them.
const COPIES: usize = 16;

/// Copies of a value. Each thread uses one.
#[derive(Debug)]
pub(crate) struct PerThread<T>([Padded<T>; COPIES]);

/// Two cache lines of 64 bytes: processors prefetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T> PerThread<T> {
    pub(crate) fn new(mut copy: impl FnMut() -> T) -> Self {
        Self(array::from_fn(|_| Padded(copy())))
    }

    /// The copy of this thread.
    pub(crate) fn get(&self) -> &T {
        thread_local! {
            static INDEX: usize = {
                static THREADS: AtomicUsize = AtomicUsize::new(0);
                THREADS.fetch_add(1, Ordering::Relaxed) % COPIES
            };
        }
        &self.0[INDEX.with(|index| *index)].0
    }
}
