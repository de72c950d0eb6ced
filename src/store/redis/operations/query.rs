//! Counts the active ids of an app.

use deadpool_redis::redis::Cmd;
use futures_util::future::try_join_all;

use crate::{
    session::{App, Seconds},
    store::{
        Error,
        redis::{decode, store::Redis},
    },
};

impl Redis {
    /// See [`Store::activity`](crate::store::Store::activity).
    pub async fn activity(&self, app: App, since: Seconds) -> Result<u64, Error> {
        self.flush_app(app).await?;
        // Each id is in one shard, so the counts add up.
        let counts = self.shards.all().iter().map(async |keys| {
            let mut cmd = Cmd::with_capacity(4, 64);
            cmd.arg("ZCOUNT").arg(keys.users(&app)).arg(since).arg("+inf");
            let reply = self.topology.read(keys, &cmd).await?;
            // A key of another type is an empty index.
            reply.map_or(Ok(0), |reply| decode::counts::count_of_raw(&reply))
        });
        Ok(try_join_all(counts).await?.into_iter().sum())
    }

    /// Flushes the buffered reads of one app, so that its indexes are current.
    pub(crate) async fn flush_app(&self, app: App) -> Result<(), Error> {
        self.flush_detached(async move |flusher| flusher.flush(|key| key.app == app).await)
            .await
    }
}
