//! What the operations that remove many sessions share: they work in batches, each found on a blocking thread and
//! removed by the writer.

use crate::store::{
    Error, Key,
    embedded::{Embedded, engine::EngineHandle, writer::Change},
};

/// Most sessions that one change removes: a commit of less than a millisecond. Why: the writer competes with gets for
/// the processor.
pub(super) const BATCH: usize = 16;

/// Sessions to remove, and the entry after which the search goes on, `None` at its end.
///
/// Why a new search for each batch: an iterator that lived through all of them would pin in memory what they remove.
pub(super) type Found<P> = (Vec<Key>, Option<P>);

/// How many sessions a batch removed, and whether it had to leave one that it should have removed.
#[derive(Clone, Copy, Default)]
pub(super) struct Removed {
    pub(super) count: u64,
    /// A session could not be read, so its index entries are unknown and it stays.
    pub(super) incomplete: bool,
}

impl Removed {
    pub(super) fn add(&mut self, more: Self) {
        self.count += more.count;
        self.incomplete |= more.incomplete;
    }

    /// The count. Fails if a session was left, so that no client takes it for removed.
    pub(super) fn complete(self) -> Result<u64, Error> {
        if self.incomplete {
            Err(Error::Unavailable)
        } else {
            Ok(self.count)
        }
    }
}

impl Embedded {
    /// Removes what `find` finds after a place, batch by batch, with the change that `remove` makes of each.
    pub(super) async fn remove_in_batches<P: Send + 'static, C: Change<Outcome = Removed>>(
        &self,
        find: impl Fn(&EngineHandle, Option<&P>) -> Result<Found<P>, Error> + Copy + Send + 'static,
        remove: impl Fn(Vec<Key>) -> C,
    ) -> Result<u64, Error> {
        let (mut removed, mut after, mut pace) = (Removed::default(), None, self.throttle.operation());
        loop {
            let part = pace.part().await?;
            let (keys, last) = self.blocking(move |cache| find(&cache.disk, after.as_ref())).await?;
            if !keys.is_empty() {
                removed.add(self.apply_in_time(remove(keys)).await?);
            }
            part.release();
            if last.is_none() {
                return removed.complete();
            }
            after = last;
        }
    }

    /// Applies one batch within the deadline.
    pub(super) async fn apply_in_time<C: Change>(&self, change: C) -> Result<C::Outcome, Error> {
        let outcome = tokio::time::timeout(self.deadline, self.writer.apply(change)).await;
        outcome.unwrap_or(Err(Error::Unavailable))
    }
}
