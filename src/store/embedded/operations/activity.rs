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
        let Some(tracker) = self.cache.trackers.track(app) else {
            self.flush().await?;
            return self.blocking(move |cache| scan::count(&cache.disk, app, since)).await;
        };
        if let Some(count) = tracker.count(since) {
            return Ok(count);
        }
        let permit = tracker.scan_permit().await;
        if let Some(count) = tracker.count(since) {
            return Ok(count);
        }
        self.flush().await?;
        self.blocking(move |cache| scan::count_tracked(&cache.disk, &tracker, since, permit))
            .await
    }
}
