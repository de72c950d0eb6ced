//! The operations that remove many sessions: a batch at a time, found off the async workers and removed by the writer.

use crate::{
    session::{App, Seconds, Token, UserId},
    store::Error,
    store::Key,
    store::embedded::{
        Embedded, LOOK,
        cache::Cache,
        codec::Activity,
        engine::EngineHandle,
        writer::{Order, Reply},
    },
};

/// Sessions that are removed at once: a commit of less than a millisecond, as a get may wait for its processor.
const BATCH: usize = 16;

/// Sessions to remove, and where to look for more, unless that was the end.
///
/// Each batch looks again from there: an iterator that lives for as long as all of them would keep in memory what they remove.
type Found<P> = (Vec<Key>, Option<P>);

impl Embedded {
    pub(crate) async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        let (mut killed, mut after, mut pace) = (0, None, self.turns.operation());
        loop {
            let part = pace.part().await?;
            let batch = self.ask_in_time(|reply| Order::Killsoid(app, id.clone(), after, BATCH, reply));
            let (more, last) = batch.await?;
            part.rest();
            killed += more;
            if last.is_none() {
                return Ok(killed);
            }
            after = last;
        }
    }

    /// Removes the sessions that are there now; one that is created meanwhile may stay.
    pub(crate) async fn killall(&self, app: App) -> Result<u64, Error> {
        self.remove_in_batches(move |disk, after| sessions(disk, app, after), None)
            .await
    }

    pub(crate) async fn wipe(&self, now: Seconds) -> Result<u64, Error> {
        self.remove_in_batches(move |disk, after| ended(disk, after, now), Some(now))
            .await
    }

    async fn remove_in_batches<P: Send + 'static>(
        &self,
        find: impl Fn(&EngineHandle, Option<&P>) -> Result<Found<P>, Error> + Copy + Send + 'static,
        expired_at: Option<Seconds>,
    ) -> Result<u64, Error> {
        let (mut removed, mut after, mut pace) = (0, None, self.turns.operation());
        loop {
            let part = pace.part().await?;
            let (batch, last) = self
                .blocking(move |cache: &Cache| find(&cache.disk, after.as_ref()))
                .await?;
            if !batch.is_empty() {
                let removal = self.ask_in_time(|reply| Order::Remove(batch, expired_at, reply));
                removed += removal.await?;
            }
            part.rest();
            if last.is_none() {
                return Ok(removed);
            }
            after = last;
        }
    }

    /// Hands over one batch.
    async fn ask_in_time<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Error> {
        let outcome = tokio::time::timeout(self.deadline, self.writer.ask(order)).await;
        outcome.unwrap_or(Err(Error::Unavailable))
    }
}

/// The next sessions of an app.
fn sessions(disk: &EngineHandle, app: App, after: Option<&Token>) -> Result<Found<Token>, Error> {
    let keys = disk
        .sessions(app, after.copied())?
        .take(BATCH)
        .collect::<Result<Vec<_>, _>>()?;
    let last = keys.last().filter(|_| keys.len() == BATCH).map(|key| key.token);
    Ok((keys, last))
}

/// The next sessions that have ended. An entry's end is never later than the session's, as activity only puts the end off: no
/// session is missed that the index knows to have ended; the writer asks the record.
fn ended(disk: &EngineHandle, after: Option<&Activity>, now: Seconds) -> Result<Found<Activity>, Error> {
    let mut batch = Vec::new();
    for (seen, entry) in disk.activities(after)?.enumerate() {
        let entry = entry?;
        if entry.end < now {
            batch.push(entry.key);
        }
        if batch.len() == BATCH || seen + 1 == LOOK {
            return Ok((batch, Some(entry)));
        }
    }
    Ok((batch, None))
}
