//! Failover of a master behind sentinels.

use std::{sync::Arc, time::Duration};

use crate::store::redis::{pool::connections::Pool, sentinel::query::Sentinels};

/// Between two questions to the sentinels. A master that was replaced may go on without knowing; nobody writes to it for
/// longer than this after the sentinels have agreed.
const WATCH: Duration = Duration::from_millis(500);

/// Leaves a master that the sentinels have replaced, for ever, and says so with `on_switch`. They may not answer: then it is
/// as good as any.
pub(crate) async fn follow(sentinels: Arc<Sentinels>, pool: Arc<Pool>, on_switch: impl Fn()) {
    loop {
        tokio::time::sleep(WATCH).await;
        if let Ok(address) = sentinels.address().await
            && pool.leave_all_but(&address)
        {
            on_switch();
        }
    }
}
