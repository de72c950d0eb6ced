//! Repairs, committed many at a time.

use std::sync::Arc;

use crate::store::embedded::engine::{Engine, Refused, WriteBatch};

/// Repairs that share a commit.
const BATCH: u64 = 256;

/// The repairs of a check.
pub(super) struct Repairs {
    engine: Arc<Engine>,
    /// `None`: nothing is repaired.
    batch: Option<WriteBatch>,
    waiting: u64,
}

impl Repairs {
    pub(super) fn new(engine: Arc<Engine>, wanted: bool) -> Self {
        Self {
            batch: wanted.then(|| WriteBatch::new(engine.clone())),
            engine,
            waiting: 0,
        }
    }

    /// Drops the repairs that are not committed, and takes no more.
    pub(super) fn give_up(&mut self) {
        self.batch = None;
    }

    /// Adds a repair. False if nothing is repaired.
    pub(super) fn repair(&mut self, change: impl FnOnce(&mut WriteBatch)) -> bool {
        if let Some(batch) = &mut self.batch {
            change(batch);
            self.waiting += 1;
        }
        self.batch.is_some()
    }

    pub(super) fn commit_if_full(&mut self) -> Result<(), Refused> {
        if self.waiting < BATCH { Ok(()) } else { self.commit() }
    }

    pub(super) fn commit(&mut self) -> Result<(), Refused> {
        self.waiting = 0;
        let Some(batch) = self.batch.take() else {
            return Ok(());
        };
        self.batch = Some(WriteBatch::new(self.engine.clone()));
        let failed = |_| Refused::Here("the engine takes no repairs: is its disk full?".into());
        batch.commit().map_err(failed)
    }
}
