//! The store operations and what each promises.
//!
//! Every operation is atomic up to 100 sessions (16 in the embedded store), and beyond that in parts, so that none keeps the
//! others waiting; but in the embedded store a killsoid ends one session after the other for those who read meanwhile. Lists are
//! read in parts while they are sent. On Redis a soid of up to 200 sessions with 256 KiB of data is one look. A change
//! is durable (embedded) or acknowledged by Redis before it returns; only what a get changes, the count of reads and the last
//! activity, may follow within a second, or within `RS_TOUCH`. Time comes from the caller. A failure is
//! [`Error::Unavailable`]: the cause is logged where it is known, never answered. Afterwards a change may or may not have
//! been applied, as with any server that goes away mid-request.

pub mod embedded;
mod error;
mod findings;
pub(crate) mod list_window;
pub mod redis;
pub(crate) mod throttle;

use std::{
    future::{Future, poll_fn},
    hash::{Hash, Hasher},
    pin::pin,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};

use self::throttle::Throttled;
pub use self::{
    error::Error,
    findings::{Findings, Location},
};
use crate::{
    clock::Clock,
    observability::metrics::{Busy, Metrics},
    session::{App, Changes, Cursor, Record, Seconds, Session, Token, UserId},
};

/// About the most data in a part of a list, in bytes. It bounds what a client that stalls makes the service hold.
const BATCH_BYTES: usize = 128 * 1024;

/// The most sessions of an id, and about the most bytes of their data, that a soid reads in one look. On Redis that is one
/// script, so they are as they were at one moment. `docs/scaling.md` tells what holds for more.
const SNAPSHOT: usize = 200;
const SNAPSHOT_BYTES: usize = 256 * 1024;

/// What names a session within a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    app: App,
    token: Token,
}

impl Hash for Key {
    /// Two apps do not have the same token.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.token.hash(state);
    }
}

/// Which sessions of an app or an id to list.
#[derive(Clone, Copy, Debug)]
pub struct ListQuery {
    /// The first second of activity that counts; of an id, every second does.
    pub since: Seconds,
    /// Where the part before ended; only what follows is listed.
    pub after: Option<Cursor>,
    /// The current second.
    pub now: Seconds,
}

/// A session in a list.
#[derive(Debug)]
pub struct Listed {
    /// Its place there.
    pub cursor: Cursor,
    /// What a client sees of it.
    pub session: Session,
}

/// A list that is under way.
#[derive(Debug)]
pub struct Listing {
    /// The operation that it belongs to, for the metrics.
    name: &'static str,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Embedded(embedded::Listing),
    Redis(redis::RedisListing),
}

impl Listing {
    /// Gives memory back while nobody reads the list. It goes on after the last session that was answered, but for what
    /// happens meanwhile as a new page would.
    pub fn rest(&mut self) {
        match &mut self.source {
            Source::Embedded(listing) => listing.rest(),
            Source::Redis(listing) => listing.rest(),
        }
    }

    fn pace(&mut self) -> Option<&mut Throttled> {
        match &mut self.source {
            Source::Embedded(listing) => listing.pace(),
            Source::Redis(listing) => listing.pace(),
        }
    }
}

/// Where sessions live. A new store is one variant more; the compiler lists what it lacks.
#[derive(Debug)]
pub enum Backend {
    /// fjall in a folder of this process.
    Embedded(embedded::Embedded),
    /// A Redis server, in the layout of redis-sessions.
    Redis(Box<redis::Redis>),
}

impl Backend {
    /// The clock that all instances of this backend share, if there is one.
    #[must_use]
    pub fn clock(&self) -> Option<Clock> {
        match self {
            Self::Embedded(_) => None,
            Self::Redis(redis) => Some(redis.clock()),
        }
    }
}

/// The store of a server: a backend, with a deadline and counters around its operations.
#[derive(Debug)]
pub struct Store {
    backend: Backend,
    deadline: Duration,
    metrics: Arc<Metrics>,
    /// Counts the gets: there are more of them than of all others.
    gets: OnceLock<Busy>,
}

/// One operation of whichever backend there is.
macro_rules! operation {
    ($self:ident . $name:ident ( $($argument:expr),* )) => {
        async {
            match &$self.backend {
                Backend::Embedded(store) => store.$name($($argument),*).await,
                // In a box: the client's futures are large, and would be moved about with every request of the other store.
                Backend::Redis(store) => Box::pin(store.$name($($argument),*)).await,
            }
        }
    };
}

impl Store {
    /// Puts a deadline and counters around `backend`.
    #[must_use]
    pub fn new(backend: Backend, deadline: Duration, metrics: Arc<Metrics>) -> Self {
        Self {
            backend,
            deadline,
            metrics,
            gets: OnceLock::new(),
        }
    }

    /// Counts an operation, and gives up waiting for it at the deadline.
    async fn timed<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.counted(name, self.bounded(operation)).await
    }

    /// Gives up waiting at the deadline. What need not be waited for costs no timer.
    async fn bounded<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (mut operation, mut late) = (pin!(operation), pin!(None));
        poll_fn(|context| {
            if let Poll::Ready(outcome) = operation.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            if late.is_none() {
                late.set(Some(tokio::time::sleep(self.deadline)));
            }
            let late = late.as_mut().as_pin_mut().map(|late| late.poll(context));
            late.map_or(Poll::Pending, |late| late.map(|()| Err(Error::Unavailable)))
        })
        .await
    }

    /// Counts an operation. One that works in batches has no deadline of its own: each batch has.
    async fn counted<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.metrics.operations(name).inc();
        self.watched(name, operation).await
    }

    /// Counts failures of an operation that is counted already.
    async fn watched<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.noted(name, operation.await)
    }

    /// Counts a failure.
    fn noted<T>(&self, name: &'static str, result: Result<T, Error>) -> Result<T, Error> {
        if matches!(result, Err(Error::Unavailable | Error::NotReplicated | Error::Internal)) {
            self.metrics.store_errors(name).inc();
        }
        result
    }

    /// Stores a new session under a token that nobody has used, and answers the token: a store may put into it where the
    /// session is.
    pub async fn create(&self, app: App, token: Token, record: Record) -> Result<Token, Error> {
        self.timed("create", operation!(self.create(app, token, record))).await
    }

    /// The session as it was before this read; then counts the read and renews it.
    pub async fn get(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        let gets = self.gets.get_or_init(|| self.metrics.busy_operations("get"));
        gets.count().inc();
        let found = match &self.backend {
            // Nearly all that need not wait cost no future.
            Backend::Embedded(store) => match store.get_now(app, token, now) {
                Some(found) => found,
                None => Box::pin(self.bounded(store.get(app, token, now))).await,
            },
            Backend::Redis(store) => Box::pin(self.bounded(store.get(app, token, now))).await,
        };
        self.noted("get", found)
    }

    /// The session as it is; changes nothing.
    pub async fn look(&self, app: App, token: Token, now: Seconds) -> Result<Option<Session>, Error> {
        self.timed("look", operation!(self.look(app, token, now))).await
    }

    /// Merges `changes` into `d`, counts the write and renews the session. Fails with `tooLarge`, and then changes nothing.
    pub async fn set(&self, app: App, token: Token, changes: Changes, now: Seconds) -> Result<Option<Session>, Error> {
        self.timed("set", operation!(self.set(app, token, changes, now))).await
    }

    /// How many ids were active at or after `since`.
    pub async fn activity(&self, app: App, since: Seconds) -> Result<u64, Error> {
        self.timed("activity", operation!(self.activity(app, since))).await
    }

    /// Begins a list of sessions, last active first and then by token, of at most `most` sessions.
    pub async fn soapp(&self, app: App, query: ListQuery, most: usize) -> Result<Listing, Error> {
        let begin = async {
            Ok(match &self.backend {
                Backend::Embedded(store) => Source::Embedded(store.soapp(app, query, most).await?),
                Backend::Redis(store) => Source::Redis(Box::pin(store.soapp(app, query, most)).await?),
            })
        };
        let source = self.timed("soapp", begin).await?;
        Ok(Listing { name: "soapp", source })
    }

    /// The next part of a list, `None` at its end; empty while the order of many sessions is being found. Each part has the
    /// deadline to itself, and so has its turn among other large operations.
    pub async fn more(&self, mut listing: Listing) -> Result<(Listing, Option<Vec<Listed>>), Error> {
        let name = listing.name;
        let more = async {
            let part = match listing.pace() {
                Some(pace) => Some(pace.part().await?),
                None => None,
            };
            let read = async {
                Ok(match (&self.backend, listing.source) {
                    (Backend::Embedded(store), Source::Embedded(listing)) => {
                        let (listing, list) = store.more(listing).await?;
                        (Source::Embedded(listing), list)
                    }
                    (Backend::Redis(store), Source::Redis(mut listing)) => {
                        let list = Box::pin(store.more(&mut listing)).await?;
                        (Source::Redis(listing), list)
                    }
                    _ => return Err(Error::Internal),
                })
            };
            let (source, list) = self.bounded(read).await?;
            if let Some(part) = part {
                part.rest();
            }
            Ok((Listing { name, source }, list))
        };
        self.watched(name, more).await
    }

    /// Begins a list of the sessions of one id, in the same order.
    #[must_use]
    pub fn soid(&self, app: App, id: UserId, query: ListQuery, most: usize) -> Listing {
        self.metrics.operations("soid").inc();
        let source = match &self.backend {
            Backend::Embedded(store) => Source::Embedded(store.soid(app, id, query, most)),
            Backend::Redis(store) => Source::Redis(store.soid(app, id, query, most)),
        };
        Listing { name: "soid", source }
    }

    /// Removes a session. False if there was none, or an expired one.
    pub async fn kill(&self, app: App, token: Token, now: Seconds) -> Result<bool, Error> {
        self.timed("kill", operation!(self.kill(app, token, now))).await
    }

    /// Removes every session of an id, and says how many. Works in batches, as the next two.
    pub async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        self.counted("killsoid", operation!(self.killsoid(app, id))).await
    }

    /// Removes every session of an app, and says how many.
    pub async fn killall(&self, app: App) -> Result<u64, Error> {
        self.counted("killall", operation!(self.killall(app))).await
    }

    /// Removes the sessions that have expired at `now`, and says how many.
    pub async fn wipe(&self, now: Seconds) -> Result<u64, Error> {
        self.counted("wipe", operation!(self.wipe(now))).await
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.timed("ping", operation!(self.ping())).await
    }

    /// Writes what is still in memory and lets go of the store.
    pub async fn close(&self) -> Result<(), Error> {
        self.counted("close", operation!(self.close())).await
    }
}
