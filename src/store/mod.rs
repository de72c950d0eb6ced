//! The store operations and what each promises.
//!
//! Every operation is atomic, but that in the embedded store a killsoid ends one session after the other for those who read
//! meanwhile. A change is durable (embedded) or acknowledged by Redis before it returns; only what a get changes, the
//! count of reads and the last activity, may follow within a second, or within `RS_TOUCH`. Time comes from the caller. A
//! failure is [`Error::StoreUnavailable`]: the cause is logged where it is known, never answered.
//! Afterwards a change may or may not have been applied, as with any server that goes away mid-request.

pub mod embedded;
pub mod redis;

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    error::Error,
    metrics::Metrics,
    session::{App, Changes, Record, Seconds, Session, Token, UserId},
};

/// What names a session within a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    app: App,
    token: Token,
}

/// Where sessions live. A new store is one variant more; the compiler lists what it lacks.
#[derive(Debug)]
pub enum Backend {
    /// fjall in a folder of this process.
    Embedded(embedded::Embedded),
    /// A Redis server, in the layout of redis-sessions.
    Redis(Box<redis::Redis>),
}

/// The store of a server: a backend, with a deadline and counters around its operations.
#[derive(Debug)]
pub struct Store {
    backend: Backend,
    deadline: Duration,
    metrics: Arc<Metrics>,
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
        }
    }

    /// Counts an operation, and gives up waiting for it at the deadline.
    async fn timed<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let bounded = async {
            tokio::time::timeout(self.deadline, operation)
                .await
                .unwrap_or(Err(Error::StoreUnavailable))
        };
        self.counted(name, bounded).await
    }

    /// Counts an operation. One that works in batches has no deadline of its own: each batch has.
    async fn counted<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.metrics.operations(name).inc();
        let result = operation.await;
        if matches!(
            result,
            Err(Error::StoreUnavailable | Error::NotReplicated | Error::Internal)
        ) {
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
        self.timed("get", operation!(self.get(app, token, now))).await
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

    /// The sessions active at or after `since`, last active first.
    pub async fn soapp(&self, app: App, since: Seconds, now: Seconds) -> Result<Vec<Session>, Error> {
        self.timed("soapp", operation!(self.soapp(app, since, now))).await
    }

    /// The sessions of one id, last active first.
    pub async fn soid(&self, app: App, id: UserId, now: Seconds) -> Result<Vec<Session>, Error> {
        self.timed("soid", operation!(self.soid(app, id, now))).await
    }

    /// Removes a session. False if there was none, or an expired one.
    pub async fn kill(&self, app: App, token: Token, now: Seconds) -> Result<bool, Error> {
        self.timed("kill", operation!(self.kill(app, token, now))).await
    }

    /// Removes every session of an id, and says how many.
    pub async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        self.timed("killsoid", operation!(self.killsoid(app, id))).await
    }

    /// Removes every session of an app, and says how many. Works in batches; each one is atomic.
    pub async fn killall(&self, app: App) -> Result<u64, Error> {
        self.counted("killall", operation!(self.killall(app))).await
    }

    /// Removes the sessions that have expired at `now`, and says how many. Works in batches; each one is atomic.
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
