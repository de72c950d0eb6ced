//! The pipelined connections to one server, in a pool of deadpool.
//!
//! A request checks a connection out only to clone its handle and returns it at once, so that any number of requests
//! pipeline on one connection. The next request replaces a connection that has failed.
//!
//! No change is sent twice: without a reply, Redis may have applied it. What only reads, or counts reads, is sent once
//! more on another connection within the same timeout.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool::{
    Runtime,
    managed::{self, PoolError, TimeoutType},
};
use deadpool_redis::redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};
use tokio::time::timeout;

use crate::store::redis::{
    connection::{
        resp::RawReply,
        retry::{NoReply, RetryPolicy},
    },
    error::{CommandError, breaks_connection, elsewhere, reason},
    pool::{
        availability_log::AvailabilityLog,
        manager::{Manager, PooledConnection},
    },
};

/// The connections.
pub(crate) struct Connections {
    pool: managed::Pool<Manager>,
    log: Arc<AvailabilityLog>,
    timeout: Duration,
}

impl Connections {
    /// At most `count` connections. Waiting for one, making one and waiting for a reply may each take `timeout`.
    pub(super) fn new(manager: Manager, log: Arc<AvailabilityLog>, timeout: Duration, count: usize) -> Self {
        let pool = managed::Pool::builder(manager)
            .max_size(count.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(timeout))
            .build();
        Self {
            pool: pool.expect("there is a runtime for the timeouts"),
            log,
            timeout,
        }
    }

    /// Sends one command. After `asking` a node of a cluster serves a slot that it is still importing.
    pub(super) async fn send(&self, cmd: &Cmd, asking: bool, retry: RetryPolicy) -> Result<RawReply, CommandError> {
        if !asking {
            let (connection, reply) = self.ask(&[cmd], retry).await?;
            return self.conclude(&connection, reply.only());
        }
        let mut first = Cmd::with_capacity(1, 8);
        first.arg("ASKING");
        let (connection, replies) = self.ask(&[&first, cmd], retry).await?;
        let reply = replies.each().last().ok_or(CommandError::Unavailable)?;
        self.conclude(&connection, reply.only())
    }

    /// Sends commands once, or twice if `retry` allows it and the first connection does not reply.
    pub(super) async fn ask(
        &self,
        commands: &[&Cmd],
        retry: RetryPolicy,
    ) -> Result<(PooledConnection, RawReply), CommandError> {
        let mut reason_of_none = match self.ask_once(commands, retry).await? {
            Ok(answered) => return Ok(answered),
            Err(none) => none,
        };
        if retry != RetryPolicy::Never && !matches!(reason_of_none, NoReply::NotSent) {
            if matches!(reason_of_none, NoReply::Late) {
                // What swallowed this command may have swallowed those on other connections of that age.
                self.give_up_older_than(self.timeout / 2);
            }
            // Rare, so in a box: it does not enlarge the future of every request.
            let again = Box::pin(self.ask_once(commands, RetryPolicy::Never));
            reason_of_none = match timeout(self.timeout / 2, again).await {
                Ok(Ok(Ok(answered))) => return Ok(answered),
                Ok(Ok(Err(none))) => none,
                Ok(Err(error)) => return Err(error),
                Err(_) => NoReply::Late,
            };
        }
        let (why, error) = match reason_of_none {
            NoReply::NotSent => ("no connection in time".to_owned(), CommandError::NotSent),
            NoReply::Late => ("no reply in time".to_owned(), CommandError::Unavailable),
            NoReply::Ended(error) => (reason(&error), CommandError::Unavailable),
        };
        self.log.unreachable(&why);
        Err(error)
    }

    /// Sends commands once. The outer error means that there is no connection; it is logged already.
    async fn ask_once(
        &self,
        commands: &[&Cmd],
        retry: RetryPolicy,
    ) -> Result<Result<(PooledConnection, RawReply), NoReply>, CommandError> {
        // The clock is read only on the rare path.
        let mut first = None;
        loop {
            let pooled = self.check_out().await?;
            match pooled.connection.ask(commands, retry).await {
                Ok(replies) => return Ok(Ok((pooled, replies))),
                // It ended while idle; the pool makes another.
                Err(NoReply::NotSent) if first.get_or_insert_with(Instant::now).elapsed() < self.timeout => {}
                Err(none) => return Ok(Err(none)),
            }
        }
    }

    /// A handle of a connection that is not known to be broken.
    async fn check_out(&self) -> Result<PooledConnection, CommandError> {
        // Why without a wait first: a connection is checked out only while it is cloned or made, so nearly always one
        // is there, and a timer costs more than the rest of this.
        let mut no_wait = self.pool.timeouts();
        no_wait.wait = Some(Duration::ZERO);
        let pooled = match self.pool.timeout_get(&no_wait).await {
            Err(PoolError::Timeout(TimeoutType::Wait)) => {
                // One timeout covers waiting and connecting.
                let wait = timeout(self.timeout, self.pool.get()).await;
                wait.unwrap_or(Err(PoolError::Timeout(TimeoutType::Wait)))
            }
            pooled => pooled,
        };
        let why = match pooled {
            Ok(pooled) => return Ok((*pooled).clone()),
            Err(PoolError::Backend(error)) => reason(&error),
            Err(PoolError::Closed) => return Err(CommandError::NotSent),
            Err(_) => "no connection in time".to_owned(),
        };
        self.log.unreachable(&why);
        Err(CommandError::NotSent)
    }

    /// Logs what a reply says about the server, and turns an error into its meaning.
    pub(super) fn conclude(
        &self,
        pooled: &PooledConnection,
        reply: Result<RawReply, RedisError>,
    ) -> Result<RawReply, CommandError> {
        let error = match reply {
            Ok(reply) => {
                self.log.reachable();
                return Ok(reply);
            }
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) {
            return Err(CommandError::NoScript);
        }
        if error.code() == Some("WRONGTYPE") {
            self.log.refused("WRONGTYPE");
            return Err(CommandError::WrongType);
        }
        if let Some(error) = elsewhere(&error) {
            return Err(error);
        }
        // Such as: out of memory, no permission, a replica, which still answers reads.
        self.log.refused(&reason(&error));
        if breaks_connection(&error) {
            pooled.connection.give_up();
            return Err(CommandError::Unavailable);
        }
        Err(CommandError::Refused)
    }

    /// Gives up the connections that have existed for `age` or longer.
    fn give_up_older_than(&self, age: Duration) {
        self.give_up_unless(|_, metrics| metrics.age() < age);
    }

    /// Gives up every connection that does not lead to the master at `address`. Says whether there was any.
    pub(super) fn leave_all_but(&self, address: &str) -> bool {
        self.give_up_unless(|pooled, _| pooled.leads_to(address))
    }

    fn give_up_unless(&self, stays: impl Fn(&PooledConnection, &managed::Metrics) -> bool) -> bool {
        let mut any = false;
        self.pool.retain(|pooled, metrics| {
            let stays = stays(pooled, &metrics);
            if !stays {
                pooled.connection.give_up();
                any = true;
            }
            stays
        });
        any
    }

    /// Accepts no more requests.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}
