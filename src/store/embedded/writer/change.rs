//! A change: one atomic operation on sessions, applied by the writer and answered after its commit.
//!
//! A new operation implements [`Change`] beside its store function in `operations/`. The writer sees changes as
//! [`QueuedChange`] trait objects only, so it has no list of operations.

use tokio::sync::oneshot;

use super::batch::CommitBatch;
use crate::store::Error;

/// Sends the outcome to the request that waits for it.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// One atomic operation on sessions.
pub(crate) trait Change: Send + 'static {
    /// What the request learns once the change is durable.
    type Outcome: Send + 'static;

    /// Bytes of session data that the change holds while it waits in the queue. A change without any is never refused
    /// for the memory of the queue, only for its length.
    fn data_bytes(&self) -> usize {
        0
    }

    /// Whether the writer may skip the change once no request waits for it any more. False for changes that end
    /// sessions: a client that gave up on a kill expects the session to be gone all the same.
    fn may_be_dropped(&self) -> bool {
        true
    }

    /// Adds the change to a batch. Later changes see it at once, requests after the commit. If it fails, the commit
    /// still includes whatever it has added, as after any 503.
    fn apply(self, batch: &mut CommitBatch<'_>) -> Result<Self::Outcome, Error>;
}

/// A change in the queue, together with the request that waits for it.
///
/// Why a trait object: it costs one allocation per change, which also holds the outcome until the commit.
pub(super) trait QueuedChange: Send {
    /// See [`Change::data_bytes`].
    fn data_bytes(&self) -> usize;

    /// Whether no request waits for the change any more, and the writer may skip it.
    fn abandoned(&self) -> bool;

    /// Adds the change to a batch and keeps its outcome.
    fn apply(&mut self, batch: &mut CommitBatch<'_>);

    /// Sends the outcome if the commit succeeded, the commit's error otherwise. A change that was not applied is
    /// refused.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

/// The only [`QueuedChange`] outside of tests.
pub(super) struct Pending<C: Change> {
    progress: Progress<C>,
    reply: Reply<C::Outcome>,
}

enum Progress<C: Change> {
    Queued(C),
    Applied(Result<C::Outcome, Error>),
}

impl<C: Change> Pending<C> {
    pub(super) fn new(change: C, reply: Reply<C::Outcome>) -> Self {
        Self {
            progress: Progress::Queued(change),
            reply,
        }
    }
}

impl<C: Change> QueuedChange for Pending<C> {
    fn data_bytes(&self) -> usize {
        match &self.progress {
            Progress::Queued(change) => change.data_bytes(),
            Progress::Applied(_) => 0,
        }
    }

    fn abandoned(&self) -> bool {
        match &self.progress {
            Progress::Queued(change) => self.reply.is_closed() && change.may_be_dropped(),
            Progress::Applied(_) => false,
        }
    }

    fn apply(&mut self, batch: &mut CommitBatch<'_>) {
        // Stands in while the change is applied. A panic there drops it unanswered.
        let unfinished = Progress::Applied(Err(Error::Internal));
        self.progress = match std::mem::replace(&mut self.progress, unfinished) {
            Progress::Queued(change) => Progress::Applied(change.apply(batch)),
            applied @ Progress::Applied(_) => applied,
        };
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let outcome = match self.progress {
            Progress::Applied(outcome) => committed.and(outcome),
            Progress::Queued(_) => Err(committed.err().unwrap_or(Error::Unavailable)),
        };
        // The request may have been cancelled meanwhile.
        let _ = self.reply.send(outcome);
    }
}
