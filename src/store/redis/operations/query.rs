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
        self.indexes_of(app).await?;
        // An id is in one shard only.
        let counts = self.shards.all().iter().map(async |keys| {
            let mut cmd = Cmd::with_capacity(4, 64);
            cmd.arg("ZCOUNT").arg(keys.users(&app)).arg(since).arg("+inf");
            let reply = self.topology.read(keys, &cmd).await?;
            // An index of another type has nobody in it.
            reply.map_or(Ok(0), |reply| decode::counts::number_of(&reply))
        });
        Ok(try_join_all(counts).await?.into_iter().sum())
    }

    /// Brings the indexes of one app up to date.
    pub(crate) async fn indexes_of(&self, app: App) -> Result<(), Error> {
        self.flush_detached(async move |flusher| flusher.flush(|key| key.app == app).await)
            .await
    }
}
