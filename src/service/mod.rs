//! One function per route: the rules and the clock, then one store operation.

mod clock_guard;

use std::sync::{Arc, Mutex, PoisonError};

use self::clock_guard::ClockGuard;
use crate::{
    clock::Clock,
    observability::metrics::{KillReason, Metrics},
    session::{App, Changes, Cursor, Ip, Record, Seconds, Session, Token, UserId},
    store::{Error, ListQuery, Listed, Listing, Store},
};

/// The session service.
#[derive(Debug)]
pub struct Service {
    store: Store,
    clock: Clock,
    /// `None` until the wiper's first look, where the clock is that of Redis, which is not known at the start.
    steady: Mutex<Option<ClockGuard>>,
    metrics: Arc<Metrics>,
}

/// What a new session is made of.
#[derive(Debug)]
pub struct NewSession {
    /// Where the user is.
    pub ip: Ip,
    /// How long the session may stay idle, in seconds.
    pub ttl: Seconds,
    /// Whether activity leaves its end where it is.
    pub no_resave: bool,
    /// Its first data.
    pub data: Changes,
}

impl Service {
    /// A service on `store`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            steady: Mutex::new(match &clock {
                Clock::Reference(_) => None,
                local => Some(ClockGuard::new(local.now(), local.uptime())),
            }),
            clock,
            metrics,
        }
    }

    /// Creates a session and answers its token. Fails with `tooLarge`.
    pub async fn create(&self, app: App, id: UserId, new: NewSession) -> Result<Token, Error> {
        let token = Token::generate(|bytes| getrandom::fill(bytes).is_ok()).ok_or(Error::Internal)?;
        let record = Record {
            id,
            ip: new.ip,
            reads: 1,
            writes: 1,
            ttl: new.ttl,
            last_active: self.clock.now(),
            no_resave: new.no_resave,
            data: new.data.apply(None)?,
        };
        let token = self.store.create(app, token, record).await?;
        self.metrics.created();
        Ok(token)
    }

    /// The session as it was before this read, which is counted and renews it.
    pub async fn get(&self, app: App, token: Token) -> Result<Option<Session>, Error> {
        self.store.get(app, token, self.clock.now()).await
    }

    /// The session, and the seconds until it ends if nobody uses it from now on. Counts as a get, unless it is not to
    /// `renew` the session: then it leaves no trace.
    pub async fn auth(&self, app: App, token: Token, renew: bool) -> Result<Option<(Session, Seconds)>, Error> {
        if renew {
            let session = self.get(app, token).await?;
            return Ok(session.map(|session| {
                let left = session.ttl;
                (session, left)
            }));
        }
        let session = self.store.look(app, token, self.clock.now()).await?;
        Ok(session.map(|session| {
            let left = if session.no_resave {
                session.ttl
            } else {
                session.ttl - session.idle
            };
            (session, left)
        }))
    }

    /// Merges `changes` into `d` and answers the session with them. Fails with `tooLarge`.
    pub async fn set(&self, app: App, token: Token, changes: Changes) -> Result<Option<Session>, Error> {
        self.store.set(app, token, changes, self.clock.now()).await
    }

    /// How many ids were active in the last `dt` seconds.
    pub async fn activity(&self, app: App, dt: Seconds) -> Result<u64, Error> {
        self.store.activity(app, self.clock.now().saturating_sub(dt)).await
    }

    /// Begins a list of the sessions that were active in the last `dt` seconds, last active first: those that follow a
    /// place, and at most `most` of them. [`Self::more`] has them.
    pub async fn soapp(&self, app: App, dt: Seconds, after: Option<Cursor>, most: usize) -> Result<Listing, Error> {
        let now = self.clock.now();
        let since = now.saturating_sub(dt);
        self.store.soapp(app, ListQuery { since, after, now }, most).await
    }

    /// The next part of a list, `None` at its end. It may be more than was asked for, or empty.
    pub async fn more(&self, listing: Listing) -> Result<(Listing, Option<Vec<Listed>>), Error> {
        self.store.more(listing).await
    }

    /// Begins a list of the sessions of one id, in the same order. The store is asked by [`Self::more`] only.
    #[must_use]
    pub fn soid(&self, app: App, id: UserId, after: Option<Cursor>, most: usize) -> Listing {
        let now = self.clock.now();
        self.store.soid(app, id, ListQuery { since: 0, after, now }, most)
    }

    /// Removes a session, and says how many that were: 1 or 0.
    pub async fn kill(&self, app: App, token: Token) -> Result<u64, Error> {
        let killed = self.store.kill(app, token, self.clock.now()).await?.into();
        self.metrics.killed(KillReason::Kill, killed);
        Ok(killed)
    }

    /// Removes the sessions of one id, and says how many.
    pub async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        let killed = self.store.killsoid(app, id).await?;
        self.metrics.killed(KillReason::Killsoid, killed);
        Ok(killed)
    }

    /// Removes the sessions of one app, and says how many.
    pub async fn killall(&self, app: App) -> Result<u64, Error> {
        let killed = self.store.killall(app).await?;
        self.metrics.killed(KillReason::Killall, killed);
        Ok(killed)
    }

    /// Removes the expired sessions of every app, and says how many: none while the clock cannot be trusted, see
    /// `clock_guard.rs`.
    pub async fn wipe(&self) -> Result<u64, Error> {
        let now = self.clock.now();
        if !self.steady(now) {
            return Ok(0);
        }
        let removed = self.store.wipe(now).await?;
        self.metrics.expired(removed);
        Ok(removed)
    }

    fn steady(&self, now: Seconds) -> bool {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        let uptime = self.clock.uptime();
        let steady = steady.get_or_insert_with(|| ClockGuard::new(now, uptime));
        steady.look(now, uptime)
    }

    /// Whether the store answers.
    pub async fn ready(&self) -> Result<(), Error> {
        self.store.ping().await
    }

    /// Writes what is still in memory.
    pub async fn close(&self) -> Result<(), Error> {
        self.store.close().await
    }
}
