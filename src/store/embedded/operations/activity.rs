//! `activity`: how many ids of an app were active of late.

use crate::{
    session::{App, Seconds},
    store::{
        Error,
        embedded::{Embedded, activity::scan},
    },
};

impl Embedded {
    pub(crate) async fn activity(&self, app: App, since: Seconds) -> Result<u64, Error> {
        let Some(watch) = self.cache.watches.watch(app) else {
            self.flush().await?;
            return self.blocking(move |cache| scan::activity(cache, app, since)).await;
        };
        if let Some(count) = watch.count(since) {
            return Ok(count);
        }
        let turn = watch.turn().await;
        if let Some(count) = watch.count(since) {
            return Ok(count);
        }
        self.flush().await?;
        self.blocking(move |cache| watch.read(cache, since, turn)).await
    }
}
