//! The store operations, and what each of them guarantees.
//!
//! - **Atomicity.** An operation is atomic up to 100 sessions (16 on the embedded store). Beyond that it runs in parts, so that
//!   it does not block the others. Exception: on the embedded store, readers see a killsoid end one session after the other.
//! - **Lists** are read in parts while they are sent. On Redis, a soid of up to 200 sessions with 256 KiB of data is one snapshot.
//! - **Durability.** A change is durable (embedded) or acknowledged by Redis before its operation returns. The read count and
//!   the last activity, which a get changes, follow within a second, or within `RS_TOUCH`.
//! - **Time** is an argument: a store has no clock of its own.
//! - **Errors.** After [`Error::Unavailable`] a change may or may not have been applied, as with every server that fails during
//!   a request. The store logs the cause where it occurs; it never reaches a client.

mod backend;
pub mod embedded;
mod error;
mod findings;
mod key;
mod list;
pub(crate) mod list_window;
pub mod redis;
pub(crate) mod throttle;
mod yielder;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use prometheus::IntCounter;

use self::backend::BackendListing;
pub use self::{
    backend::{Backend, Listing},
    error::Error,
    findings::{Findings, Location},
    list::{ListQuery, Listed},
};
pub(crate) use self::{
    key::Key,
    list::{PART_BYTES, SNAPSHOT_BYTES, SNAPSHOT_SESSIONS},
};
use crate::{
    observability::metrics::Metrics,
    session::{App, Changes, Record, Seconds, Session, Token, UserId},
};

/// The store of a server: a backend whose operations have a deadline and are counted.
#[derive(Debug)]
pub struct Store {
    backend: Backend,
    deadline: Duration,
    metrics: Arc<Metrics>,
    /// The counter of gets, at hand since they outnumber all other operations.
    gets: IntCounter,
}

/// Runs an operation on whichever backend the store has.
macro_rules! operation {
    ($self:ident . $name:ident ( $($argument:expr),* )) => {
        async {
            match &$self.backend {
                Backend::Embedded(store) => store.$name($($argument),*).await,
                // Boxed: the futures of the Redis client are large, and would be moved with every embedded operation too.
                Backend::Redis(store) => Box::pin(store.$name($($argument),*)).await,
            }
        }
    };
}

impl Store {
    /// Wraps `backend`. `deadline` bounds each operation, or each part of an operation that runs in parts.
    #[must_use]
    pub fn new(backend: Backend, deadline: Duration, metrics: Arc<Metrics>) -> Self {
        Self {
            backend,
            deadline,
            gets: metrics.operations("get"),
            metrics,
        }
    }

    /// Counts an operation and its failure, and gives up at the deadline.
    async fn run<T>(&self, name: &'static str, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.run_in_parts(name, self.with_deadline(operation)).await
    }

    /// Counts an operation and its failure. It runs in parts, each of which has a deadline of its own.
    async fn run_in_parts<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.metrics.operations(name).inc();
        self.count_failure(name, operation.await)
    }

    /// Gives up at the deadline. An operation that completes at once costs no timer.
    async fn with_deadline<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (mut operation, mut timer) = (pin!(operation), pin!(None));
        poll_fn(|context| {
            if let Poll::Ready(outcome) = operation.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            if timer.is_none() {
                timer.set(Some(tokio::time::sleep(self.deadline)));
            }
            let expired = timer.as_mut().as_pin_mut().map(|timer| timer.poll(context));
            expired.map_or(Poll::Pending, |expired| expired.map(|()| Err(Error::Unavailable)))
        })
        .await
    }

    /// Counts a failure of the store. `TooLarge` is the client's.
    fn count_failure<T>(&self, name: &'static str, result: Result<T, Error>) -> Result<T, Error> {
        if matches!(result, Err(Error::Unavailable | Error::NotReplicated | Error::Internal)) {
            self.metrics.store_errors(name).inc();
        }
        result
    }

    /// Stores a new session under a fresh token, and returns the token: a backend may write the shard of the session into it.
    pub async fn create(&self, app: App, token: Token, record: Record) -> Result<Token, Error> {
        self.run("create", operation!(self.create(app, token, record))).await
    }

    /// Returns the session as it was before this read, counts the read, and renews the session.
    pub async fn get(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        self.gets.inc();
        let found = match &self.backend {
            // Fast path: most gets find their record in memory and need no future.
            Backend::Embedded(store) => match store.get_now(app, token, now) {
                Some(found) => found,
                None => Box::pin(self.with_deadline(store.get(app, token, now))).await,
            },
            Backend::Redis(store) => Box::pin(self.with_deadline(store.get(app, token, now))).await,
        };
        self.count_failure("get", found)
    }

    /// Returns the session and changes nothing.
    pub async fn peek(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        self.run("peek", operation!(self.peek(app, token, now))).await
    }

    /// Merges `changes` into `d`, counts the write, and renews the session. Changes nothing if it fails with
    /// [`Error::TooLarge`].
    pub async fn set(&self, app: App, token: Token, changes: Changes, now: Seconds) -> Result<Option<Session>, Error> {
        self.run("set", operation!(self.set(app, token, changes, now))).await
    }

    /// Counts the ids that were active at or after `since`.
    pub async fn activity(&self, app: App, since: Seconds) -> Result<u64, Error> {
        self.run("activity", operation!(self.activity(app, since))).await
    }

    /// Starts a list of at most `most` sessions of an app, ordered by last activity, latest first, then by token.
    pub async fn soapp(&self, app: App, query: ListQuery, most: usize) -> Result<Listing, Error> {
        let begin = async {
            Ok(match &self.backend {
                Backend::Embedded(store) => BackendListing::Embedded(store.soapp(app, query, most).await?),
                Backend::Redis(store) => BackendListing::Redis(Box::pin(store.soapp(app, query, most)).await?),
            })
        };
        let backend = self.run("soapp", begin).await?;
        Ok(Listing {
            operation: "soapp",
            backend,
        })
    }

    /// Reads the next part of a list: `None` at its end, empty while a long list is still being sorted. Each part has the
    /// whole deadline, and waits apart for its permit among other large operations.
    pub async fn next_part(&self, mut listing: Listing) -> Result<(Listing, Option<Vec<Listed>>), Error> {
        let operation = listing.operation;
        let next = async {
            let permit = match listing.throttled() {
                Some(throttled) => Some(throttled.part().await?),
                None => None,
            };
            let read = async {
                Ok(match (&self.backend, listing.backend) {
                    (Backend::Embedded(store), BackendListing::Embedded(listing)) => {
                        let (listing, part) = store.next_part(listing).await?;
                        (BackendListing::Embedded(listing), part)
                    }
                    (Backend::Redis(store), BackendListing::Redis(mut listing)) => {
                        let part = Box::pin(store.next_part(&mut listing)).await?;
                        (BackendListing::Redis(listing), part)
                    }
                    _ => return Err(Error::Internal),
                })
            };
            let (backend, part) = self.with_deadline(read).await?;
            if let Some(permit) = permit {
                permit.release();
            }
            Ok((Listing { operation, backend }, part))
        };
        self.count_failure(operation, next.await)
    }

    /// Starts a list of the sessions of one id, in the same order.
    #[must_use]
    pub fn soid(&self, app: App, id: UserId, query: ListQuery, most: usize) -> Listing {
        self.metrics.operations("soid").inc();
        let backend = match &self.backend {
            Backend::Embedded(store) => BackendListing::Embedded(store.soid(app, id, query, most)),
            Backend::Redis(store) => BackendListing::Redis(store.soid(app, id, query, most)),
        };
        Listing {
            operation: "soid",
            backend,
        }
    }

    /// Removes a session. Returns false if there was none, or an expired one.
    pub async fn kill(&self, app: App, token: Token, now: Seconds) -> Result<bool, Error> {
        self.run("kill", operation!(self.kill(app, token, now))).await
    }

    /// Removes every session of an id, in parts, and returns their number.
    pub async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        self.run_in_parts("killsoid", operation!(self.killsoid(app, id))).await
    }

    /// Removes every session of an app, in parts, and returns their number.
    pub async fn killall(&self, app: App) -> Result<u64, Error> {
        self.run_in_parts("killall", operation!(self.killall(app))).await
    }

    /// Removes the sessions that have expired at `now`, in parts, and returns their number.
    pub async fn wipe(&self, now: Seconds) -> Result<u64, Error> {
        self.run_in_parts("wipe", operation!(self.wipe(now))).await
    }

    /// Succeeds if the store answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.run("ping", operation!(self.ping())).await
    }

    /// Flushes buffered reads and releases the store.
    pub async fn close(&self) -> Result<(), Error> {
        self.run_in_parts("close", operation!(self.close())).await
    }
}
