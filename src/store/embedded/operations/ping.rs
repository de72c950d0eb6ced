//! `ping`: whether the store takes writes.

use crate::store::{
    Error,
    embedded::{
        Embedded,
        writer::{Change, CommitBatch},
    },
};

struct Ping;

impl Change for Ping {
    type Outcome = ();

    fn apply(self, batch: &mut CommitBatch<'_>) -> Result<(), Error> {
        batch.mark();
        Ok(())
    }
}

impl Embedded {
    /// See [`crate::store::Store::ping`]. Writes to the disk: a full one must fail the readiness probe.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.writer.apply(Ping).await
    }
}
