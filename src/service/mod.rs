//! The session service: one function for each route, which applies the rules and the clock and calls one store operation.

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
    /// `None` until the first round of the wiper if the clock is that of Redis, which is unknown at the start.
    clock_guard: Mutex<Option<ClockGuard>>,
    metrics: Arc<Metrics>,
}

/// The properties of a new session.
#[derive(Debug)]
pub struct NewSession {
    /// The address of the visitor.
    pub ip: Ip,
    /// How long the session may stay idle, in seconds.
    pub ttl: Seconds,
    /// Whether the end of the session stays fixed in spite of activity.
    pub no_resave: bool,
    /// The initial data.
    pub data: Changes,
}

impl Service {
    /// A service on `store`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            clock_guard: Mutex::new(match &clock {
                Clock::Reference(_) => None,
                local => Some(ClockGuard::new(local.now(), local.uptime())),
            }),
            clock,
            metrics,
        }
    }

    /// Creates a session and returns its token. Fails with [`Error::TooLarge`].
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

    /// Returns the session as it was before this read, counts the read, and renews the session.
    pub async fn get(&self, app: App, token: Token) -> Result<Option<Session>, Error> {
        self.store.get(app, token, self.clock.now()).await
    }

    /// Returns the session and the seconds until it ends if it is not used again. With `renew` it counts as a get, without it
    /// changes nothing.
    pub async fn auth(&self, app: App, token: Token, renew: bool) -> Result<Option<(Session, Seconds)>, Error> {
        if renew {
            let session = self.get(app, token).await?;
            return Ok(session.map(|session| {
                let left = session.ttl;
                (session, left)
            }));
        }
        let session = self.store.peek(app, token, self.clock.now()).await?;
        Ok(session.map(|session| {
            let left = if session.no_resave {
                session.ttl
            } else {
                session.ttl - session.idle
            };
            (session, left)
        }))
    }

    /// Merges `changes` into `d` and returns the session with them. Fails with [`Error::TooLarge`].
    pub async fn set(&self, app: App, token: Token, changes: Changes) -> Result<Option<Session>, Error> {
        self.store.set(app, token, changes, self.clock.now()).await
    }

    /// Counts the ids that were active in the last `dt` seconds.
    pub async fn activity(&self, app: App, dt: Seconds) -> Result<u64, Error> {
        self.store.activity(app, self.clock.now().saturating_sub(dt)).await
    }

    /// Starts a list of the sessions that were active in the last `dt` seconds, latest first: at most `most` of those after
    /// the cursor. [`Self::next_part`] reads it.
    pub async fn soapp(&self, app: App, dt: Seconds, after: Option<Cursor>, most: usize) -> Result<Listing, Error> {
        let now = self.clock.now();
        let since = now.saturating_sub(dt);
        self.store.soapp(app, ListQuery { since, after, now }, most).await
    }

    /// Reads the next part of a list, `None` at its end. A part may be empty, and the last one may exceed `most`.
    pub async fn next_part(&self, listing: Listing) -> Result<(Listing, Option<Vec<Listed>>), Error> {
        self.store.next_part(listing).await
    }

    /// Starts a list of the sessions of one id, in the same order. Only [`Self::next_part`] asks the store.
    #[must_use]
    pub fn soid(&self, app: App, id: UserId, after: Option<Cursor>, most: usize) -> Listing {
        let now = self.clock.now();
        self.store.soid(app, id, ListQuery { since: 0, after, now }, most)
    }

    /// Removes a session. Returns how many it removed: 1 or 0.
    pub async fn kill(&self, app: App, token: Token) -> Result<u64, Error> {
        let killed = self.store.kill(app, token, self.clock.now()).await?.into();
        self.metrics.killed(KillReason::Kill, killed);
        Ok(killed)
    }

    /// Removes the sessions of one id, and returns their number.
    pub async fn killsoid(&self, app: App, id: UserId) -> Result<u64, Error> {
        let killed = self.store.killsoid(app, id).await?;
        self.metrics.killed(KillReason::Killsoid, killed);
        Ok(killed)
    }

    /// Removes the sessions of one app, and returns their number.
    pub async fn killall(&self, app: App) -> Result<u64, Error> {
        let killed = self.store.killall(app).await?;
        self.metrics.killed(KillReason::Killall, killed);
        Ok(killed)
    }

    /// Removes the expired sessions of every app, and returns their number. Removes none while the clock cannot be trusted,
    /// see `clock_guard.rs`.
    pub async fn wipe(&self) -> Result<u64, Error> {
        let now = self.clock.now();
        if !self.trusts_clock(now) {
            return Ok(0);
        }
        let removed = self.store.wipe(now).await?;
        self.metrics.expired(removed);
        Ok(removed)
    }

    fn trusts_clock(&self, now: Seconds) -> bool {
        let mut guard = self.clock_guard.lock().unwrap_or_else(PoisonError::into_inner);
        let uptime = self.clock.uptime();
        guard
            .get_or_insert_with(|| ClockGuard::new(now, uptime))
            .check(now, uptime)
    }

    /// Succeeds if the store answers.
    pub async fn ready(&self) -> Result<(), Error> {
        self.store.ping().await
    }

    /// Flushes buffered reads and closes the store.
    pub async fn close(&self) -> Result<(), Error> {
        self.store.close().await
    }
}
