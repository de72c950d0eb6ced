//! A few connections to one server that all requests share, and what happens when it is away.
//!
//! A request borrows a connection only to clone its handle, so that any number of requests pipeline on it; short commands
//! wait in a [`Queue`] for others to go with. A connection that fails once is replaced by the next request. No operation
//! is sent twice: when an answer is missing, Redis may have done what was asked.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, PoolError},
};
use deadpool_redis::redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    failure::{Failure, elsewhere, reason, useless},
    link::{Link, Manager},
    queue::{BATCH, Queue, Waiting},
    replicated::Replicated,
    script::Script,
    voice::Voice,
};

/// How a server is to be used.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// For each request as a whole.
    pub(super) timeout: Duration,
    /// Connections that all requests share.
    pub(super) connections: usize,
    /// How many replicas must have a change before it is answered.
    pub(super) replicas: u16,
}

/// What is asked of a server.
pub(super) enum Request<'a> {
    /// One short command that reads a key; it may go out with others.
    Read(Cmd),
    /// A script; the function adds the number of keys, the keys and the rest.
    Script(&'a Script, &'a (dyn Fn(&mut Cmd) + Sync)),
    /// A script that changes what must not be lost.
    Change(&'a Script, &'a (dyn Fn(&mut Cmd) + Sync)),
    /// Any other command.
    Command(&'a Cmd),
}

/// The connections.
pub(super) struct Pool {
    voice: Voice,
    links: managed::Pool<Manager>,
    queue: Queue,
    replicated: Option<Replicated>,
    timeout: Duration,
    /// When the pool was made.
    start: Instant,
}

impl Pool {
    /// `at` is ` at HOST:PORT` where there are several servers, for the log.
    pub(super) fn new(manager: Manager, at: String, limits: Limits) -> Self {
        let links = |manager, connections: usize| {
            let links = managed::Pool::builder(manager)
                .max_size(connections.max(1))
                .runtime(Runtime::Tokio1)
                .wait_timeout(Some(limits.timeout))
                .create_timeout(Some(limits.timeout))
                .recycle_timeout(Some(limits.timeout))
                .build();
            links.expect("there is a runtime for the timeouts")
        };
        let replicated = (limits.replicas > 0).then(|| Replicated::new(links(manager.clone(), 1), limits.replicas));
        Self {
            voice: Voice::of(at),
            links: links(manager, limits.connections),
            queue: Queue::new(),
            replicated,
            timeout: limits.timeout,
            start: Instant::now(),
        }
    }

    /// Sends a request once, or twice if Redis had to learn a script. To a node of a cluster that does not have the slot yet
    /// one is sent while `asking`.
    pub(super) async fn answer(&self, request: Request<'_>, asking: bool) -> Result<Value, Failure> {
        match request {
            Request::Read(cmd) if !asking => self.queue.answer(cmd).await,
            Request::Read(cmd) => self.send(&cmd, asking).await,
            Request::Command(cmd) => self.send(cmd, asking).await,
            Request::Change(script, arguments) if let Some(replicated) = &self.replicated => {
                replicated.answer(script, arguments).await
            }
            Request::Script(script, arguments) | Request::Change(script, arguments) => {
                match self.send(&script.by_hash(arguments), asking).await {
                    Err(Failure::NoScript) => self.send(&script.by_source(arguments), asking).await,
                    result => result,
                }
            }
        }
    }

    /// Sends what waits in the queue, for ever.
    pub(super) async fn serve_queue(self: Arc<Self>) {
        loop {
            let mut waiting = self.queue.take().await;
            while !waiting.is_empty() {
                let rest = waiting.split_off(waiting.len().min(BATCH));
                self.send_together(&self.links, waiting, None).await;
                waiting = rest;
            }
        }
    }

    /// Sends the changes that wait for replicas, for ever. They have a connection of their own, as one that waits serves
    /// nobody else; those that come meanwhile go together the next time.
    pub(super) async fn serve_changes(self: Arc<Self>) {
        let Some(replicated) = &self.replicated else {
            return;
        };
        loop {
            let waiting = replicated.queue.take().await;
            if !waiting.is_empty() {
                self.send_together(&replicated.links, waiting, Some(replicated.replicas))
                    .await;
            }
        }
    }

    /// Notes what a node of a cluster says to who takes it for the only server.
    pub(super) fn misled(&self, failure: Failure) -> Failure {
        if matches!(failure, Failure::Moved(_) | Failure::Ask(_) | Failure::TryAgain) {
            self.voice.refused("it is a node of a cluster, see --redis-mode");
        }
        failure
    }

    /// Gives up every connection that leads to another master than the sentinels name. Says whether there was any.
    pub(super) fn leave_all_but(&self, address: &str) -> bool {
        let mut left = false;
        for links in self.all_links() {
            links.retain(|link, _| {
                let stays = link.leads_to(address);
                if !stays {
                    link.give_up();
                    left = true;
                }
                stays
            });
        }
        left
    }

    /// No more requests.
    pub(super) fn close(&self) {
        self.all_links().for_each(managed::Pool::close);
    }

    fn all_links(&self) -> impl Iterator<Item = &managed::Pool<Manager>> {
        let more = self.replicated.as_ref().map(|replicated| &replicated.links);
        [&self.links].into_iter().chain(more)
    }

    /// Sends commands at once and gives each its reply. With `replicas`, none is a success unless so many have it all.
    async fn send_together(&self, links: &managed::Pool<Manager>, waiting: Vec<Waiting>, replicas: Option<u16>) {
        let mut pipe = Pipeline::with_capacity(waiting.len() + 1);
        let (commands, replies): (Vec<_>, Vec<_>) = waiting.into_iter().map(|one| (one.cmd, one.reply)).unzip();
        for cmd in commands {
            pipe.add_command(cmd);
        }
        if let Some(replicas) = replicas {
            // Less than half of the time: a change may have to wait for those before it.
            let milliseconds = u64::try_from((self.timeout * 2 / 5).as_millis())
                .unwrap_or(u64::MAX)
                .max(1);
            pipe.cmd("WAIT").arg(replicas).arg(milliseconds);
        }
        let now = Instant::now();
        let Ok(mut link) = self.link(links, now).await else {
            for reply in replies {
                // Whoever asked may have gone; so below.
                let _ = reply.send(Err(Failure::NotSent));
            }
            return;
        };
        let count = replies.len() + usize::from(replicas.is_some());
        let sent = link.connection.send_packed_commands(&pipe, 0, count);
        let sent = timeout_at(now + self.timeout, sent).await;
        let Ok(mut values) = self.conclude(&link, sent.ok()) else {
            return;
        };
        let replicated = match replicas {
            None => true,
            Some(replicas) => matches!(values.pop(), Some(Value::Int(have)) if have >= replicas.into()),
        };
        for (reply, value) in replies.into_iter().zip(values) {
            let value = match value {
                Value::ServerError(error) => self.conclude(&link, Some(Err(error.into()))),
                _ if !replicated => Err(Failure::NotReplicated),
                value => Ok(value),
            };
            let _ = reply.send(value);
        }
    }

    async fn send(&self, cmd: &Cmd, asking: bool) -> Result<Value, Failure> {
        let now = Instant::now();
        let mut link = self.link(&self.links, now).await?;
        let reply = if asking {
            let mut pipe = Pipeline::with_capacity(2);
            pipe.cmd("ASKING").add_command(cmd.clone());
            let replies = timeout_at(now + self.timeout, link.connection.send_packed_commands(&pipe, 1, 1)).await;
            replies.map(|replies| replies.map(|mut replies| replies.pop().unwrap_or(Value::Nil)))
        } else {
            timeout_at(now + self.timeout, link.connection.send_packed_command(cmd)).await
        };
        // An error deeper inside comes from no command that is sent here.
        let reply = reply.ok().map(|reply| match reply {
            Ok(Value::ServerError(error)) => Err(error.into()),
            reply => reply,
        });
        self.conclude(&link, reply)
    }

    /// A handle of a connection that is whole as far as anybody knows.
    async fn link(&self, links: &managed::Pool<Manager>, now: Instant) -> Result<Link, Failure> {
        let milliseconds = u64::try_from((now - self.start).as_millis()).unwrap_or_default();
        loop {
            let reason = match timeout_at(now + self.timeout, links.get()).await {
                Ok(Ok(link)) => {
                    let link = (*link).clone();
                    if link.ready(milliseconds, self.timeout).await {
                        return Ok(link);
                    }
                    // Replaced in the next round.
                    continue;
                }
                Ok(Err(PoolError::Backend(error))) => reason(&error),
                Ok(Err(PoolError::Closed)) => return Err(Failure::NotSent),
                Ok(Err(_)) | Err(_) => "no connection in time".to_owned(),
            };
            self.voice.gone(&reason);
            return Err(Failure::NotSent);
        }
    }

    /// Learns from a reply, `None` if the deadline came first.
    fn conclude<T>(&self, link: &Link, reply: Option<Result<T, RedisError>>) -> Result<T, Failure> {
        let Some(reply) = reply else {
            link.give_up();
            self.voice.gone("no reply in time");
            return Err(Failure::Unavailable);
        };
        link.replied();
        let error = match reply {
            Ok(reply) => {
                self.voice.answered();
                return Ok(reply);
            }
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) {
            return Err(Failure::NoScript);
        }
        if error.code() == Some("WRONGTYPE") {
            self.voice.refused("WRONGTYPE");
            return Err(Failure::WrongType);
        }
        if let Some(failure) = elsewhere(&error) {
            return Err(failure);
        }
        let answered = error.clone().into_server_errors().is_some();
        if useless(&error) {
            link.give_up();
        }
        if answered {
            // Out of memory, no permission, a replica, which goes on to answer reads.
            self.voice.refused(&reason(&error));
        } else {
            self.voice.gone(&reason(&error));
        }
        Err(Failure::Unavailable)
    }
}
