//! Whether the sessions in a cluster are in as many shards as this instance expects.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

/// What is known of the number of shards.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ShardCount {
    #[default]
    Unknown,
    /// The sessions are in as many shards as this instance expects.
    Ours,
    /// The sessions are in another number of shards.
    Foreign,
}

/// The result of the comparison, for requests that wait for it.
#[derive(Default)]
pub(super) struct ShardCountCheck(watch::Sender<ShardCount>);

impl ShardCountCheck {
    /// Compares the number that is `stored` in the cluster with `ours`.
    pub(super) fn compare(&self, stored: &[u8], ours: usize) {
        let count = if stored == ours.to_string().as_bytes() {
            ShardCount::Ours
        } else {
            let stored = String::from_utf8_lossy(stored);
            tracing::error!("the sessions in this cluster are in {stored} shards: --shards must be the same");
            ShardCount::Foreign
        };
        self.0.send_replace(count);
    }

    /// The result, which is waited for up to `patience`: the node that knows it may be unreachable.
    pub(super) async fn wait(&self, patience: Duration) -> ShardCount {
        let count = *self.0.borrow();
        if count != ShardCount::Unknown {
            return count;
        }
        let mut changes = self.0.subscribe();
        let known = changes.wait_for(|count| *count != ShardCount::Unknown);
        match timeout(patience, known).await {
            Ok(Ok(known)) => *known,
            _ => ShardCount::Unknown,
        }
    }
}
