//! A few connections to one server that all requests share, and what happens when it is away.
//!
//! A request borrows a connection only to clone its handle, so that any number of requests pipeline on it. A connection that
//! fails once is replaced by the next request. No change is sent twice: when an answer is missing, Redis may have done what
//! was asked. What only reads, or notes reads, is asked once more, on another connection, within the same time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool::{
    Runtime,
    managed::{self, PoolError, TimeoutType},
};
use deadpool_redis::redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use tokio::time::timeout;

use crate::store::redis::{
    connection::{
        resp::RawReply,
        retry::{NoReply, RetryPolicy},
    },
    error::{CommandError, elsewhere, reason, useless},
    pool::{
        availability_log::AvailabilityLog,
        manager::{Manager, PooledConnection},
        wait_replicas::{Replicated, Waiting},
    },
    scripts::Script,
};

/// What the log says of a reply of another form than Redis has.
const NONSENSE: &str = "its reply is none of those that the command has: is a proxy or another server in between?";

/// How a server is to be used.
#[derive(Clone, Copy)]
pub(crate) struct PoolSettings {
    /// For a connection, and then for the reply.
    pub(crate) timeout: Duration,
    /// Connections that all requests share.
    pub(crate) connections: usize,
    /// How many replicas must have a change before it is answered.
    pub(crate) replicas: u16,
}

/// What is asked of a server.
pub(crate) enum ServerRequest<'a> {
    /// A command that reads a key.
    Read(&'a Cmd),
    /// A script; the function adds the number of keys, the keys and the rest.
    Script(&'a Script, &'a (dyn Fn(&mut Cmd) + Sync)),
    /// A script that changes what must not be lost.
    Change(&'a Script, &'a (dyn Fn(&mut Cmd) + Sync)),
    /// Any other command, which may be repeated.
    Command(&'a Cmd),
}

/// The connections.
pub(crate) struct Pool {
    voice: AvailabilityLog,
    links: managed::Pool<Manager>,
    replicated: Option<Replicated>,
    timeout: Duration,
}

/// Seconds and microseconds, as strings.
fn time_in(reply: &RawReply) -> Option<Duration> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let [seconds, micros] = reply.strings()?;
    let (seconds, micros) = (number(seconds?)?, number(micros?)?);
    // From 2001 to 2286: whatever is beyond is no clock.
    let sound = (1_000_000_000..10_000_000_000).contains(&seconds) && micros < 1_000_000;
    sound.then(|| Duration::from_secs(seconds) + Duration::from_micros(micros))
}

/// Gives up the connections that are as old as that.
fn retire(links: &managed::Pool<Manager>, age: Duration) {
    links.retain(|link, metrics| {
        let stays = metrics.age() < age;
        if !stays {
            link.connection.give_up();
        }
        stays
    });
}

impl Pool {
    pub(crate) fn new(manager: Manager, voice: AvailabilityLog, limits: PoolSettings) -> Self {
        let links = |manager, connections: usize| {
            let links = managed::Pool::builder(manager)
                .max_size(connections.max(1))
                .runtime(Runtime::Tokio1)
                .wait_timeout(Some(limits.timeout))
                .create_timeout(Some(limits.timeout))
                .build();
            links.expect("there is a runtime for the timeouts")
        };
        let replicated = (limits.replicas > 0).then(|| Replicated::new(links(manager.clone(), 1), limits.replicas));
        Self {
            voice,
            links: links(manager, limits.connections),
            replicated,
            timeout: limits.timeout,
        }
    }

    /// Sends a request once, or twice if Redis had to learn a script. To a node of a cluster that does not have the slot yet
    /// one is sent while `asking`.
    pub(crate) async fn answer(&self, request: ServerRequest<'_>, asking: bool) -> Result<RawReply, CommandError> {
        match request {
            ServerRequest::Read(cmd) | ServerRequest::Command(cmd) => {
                self.send(cmd, asking, RetryPolicy::AfterHalf).await
            }
            ServerRequest::Change(script, arguments) if let Some(replicated) = &self.replicated => {
                replicated.answer(script, arguments).await
            }
            ServerRequest::Script(script, arguments) | ServerRequest::Change(script, arguments) => {
                match self.send(&script.by_hash(arguments), asking, script.retry()).await {
                    Err(CommandError::NoScript) => {
                        self.send(&script.by_source(arguments), asking, script.retry()).await
                    }
                    result => result,
                }
            }
        }
    }

    /// Sends the changes that wait for replicas, for ever. They have a connection of their own, as one that waits serves
    /// nobody else; those that come meanwhile go together the next time.
    pub(crate) async fn serve_changes(self: Arc<Self>) {
        let Some(replicated) = &self.replicated else {
            return;
        };
        loop {
            let waiting = replicated.queue.take().await;
            if !waiting.is_empty() {
                self.send_together(replicated, waiting).await;
            }
        }
    }

    /// The time of the server, since the Unix epoch.
    pub(crate) async fn time(&self) -> Result<Duration, CommandError> {
        let mut cmd = Cmd::with_capacity(1, 4);
        cmd.arg("TIME");
        let reply = self.answer(ServerRequest::Command(&cmd), false).await?;
        time_in(&reply).ok_or_else(|| self.nonsense())
    }

    /// Notes a reply that no Redis gives.
    pub(crate) fn nonsense(&self) -> CommandError {
        self.voice.refused(NONSENSE);
        CommandError::Refused
    }

    /// Notes what a node of a cluster says to who takes it for the only server.
    pub(crate) fn misled(&self, failure: CommandError) -> CommandError {
        if matches!(
            failure,
            CommandError::Moved(_) | CommandError::Ask(_) | CommandError::TryAgain
        ) {
            self.voice.refused("it is a node of a cluster, see --redis-mode");
        }
        failure
    }

    /// Gives up every connection that leads to another master than the sentinels name. Says whether there was any.
    pub(crate) fn leave_all_but(&self, address: &str) -> bool {
        let mut left = false;
        for links in self.all_links() {
            links.retain(|link, _| {
                let stays = link.leads_to(address);
                if !stays {
                    link.connection.give_up();
                    left = true;
                }
                stays
            });
        }
        left
    }

    /// No more requests.
    pub(crate) fn close(&self) {
        self.all_links().for_each(managed::Pool::close);
    }

    fn all_links(&self) -> impl Iterator<Item = &managed::Pool<Manager>> {
        let more = self.replicated.as_ref().map(|replicated| &replicated.links);
        [&self.links].into_iter().chain(more)
    }

    /// Sends changes at once and gives each its reply. None is a success unless enough replicas have them all.
    async fn send_together(&self, replicated: &Replicated, waiting: Vec<Waiting>) {
        let (commands, replies): (Vec<_>, Vec<_>) = waiting.into_iter().map(|one| (one.cmd, one.reply)).unzip();
        // Less than half of the time: a change may have to wait for those before it.
        let milliseconds = u64::try_from((self.timeout * 2 / 5).as_millis()).unwrap_or(u64::MAX);
        let mut wait = Cmd::with_capacity(3, 32);
        wait.arg("WAIT").arg(replicated.replicas).arg(milliseconds.max(1));
        let commands: Vec<&Cmd> = commands.iter().chain([&wait]).collect();
        let (link, answer) = match self.ask(&replicated.links, &commands, RetryPolicy::Never).await {
            Ok(answered) => answered,
            Err(failure) => {
                for reply in replies {
                    // Whoever asked may have gone; so below.
                    let _ = reply.send(Err(failure.again()));
                }
                return;
            }
        };
        let mut answers: Vec<RawReply> = answer.each().collect();
        let have = answers.pop().and_then(|have| have.value().ok());
        let enough = matches!(have, Some(Value::Int(have)) if have >= replicated.replicas.into());
        for (reply, answer) in replies.into_iter().zip(answers) {
            let answer = self.conclude(&link, answer.only());
            let answer = answer.and_then(|answer| {
                if enough {
                    Ok(answer)
                } else {
                    Err(CommandError::NotReplicated)
                }
            });
            let _ = reply.send(answer);
        }
    }

    async fn send(&self, cmd: &Cmd, asking: bool, patience: RetryPolicy) -> Result<RawReply, CommandError> {
        if !asking {
            let (link, reply) = self.ask(&self.links, &[cmd], patience).await?;
            return self.conclude(&link, reply.only());
        }
        let mut first = Cmd::with_capacity(1, 8);
        first.arg("ASKING");
        let (link, replies) = self.ask(&self.links, &[&first, cmd], patience).await?;
        let reply = replies.each().last().ok_or(CommandError::Unavailable)?;
        self.conclude(&link, reply.only())
    }

    /// Sends commands once, or twice if that does no harm and the connection turns out to be dead.
    async fn ask(
        &self,
        links: &managed::Pool<Manager>,
        commands: &[&Cmd],
        patience: RetryPolicy,
    ) -> Result<(PooledConnection, RawReply), CommandError> {
        let mut lost = match self.ask_once(links, commands, patience).await? {
            Ok(answered) => return Ok(answered),
            Err(lost) => lost,
        };
        if patience != RetryPolicy::Never && !matches!(lost, NoReply::NotSent) {
            if matches!(lost, NoReply::Late) {
                // What swallowed this one may have swallowed its neighbours.
                retire(links, self.timeout / 2);
            }
            // Seldom, so in a box: it does not make every request's state larger.
            let again = Box::pin(self.ask_once(links, commands, RetryPolicy::Never));
            lost = match timeout(self.timeout / 2, again).await {
                Ok(Ok(Ok(answered))) => return Ok(answered),
                Ok(Ok(Err(lost))) => lost,
                Ok(Err(failure)) => return Err(failure),
                Err(_) => NoReply::Late,
            };
        }
        let (why, failure) = match lost {
            NoReply::NotSent => ("no connection in time".to_owned(), CommandError::NotSent),
            NoReply::Late => ("no reply in time".to_owned(), CommandError::Unavailable),
            NoReply::Ended(error) => (reason(&error), CommandError::Unavailable),
        };
        self.voice.gone(&why);
        Err(failure)
    }

    /// Sends commands once. Fails with `CommandError` if there is no connection, which is logged already.
    async fn ask_once(
        &self,
        links: &managed::Pool<Manager>,
        commands: &[&Cmd],
        patience: RetryPolicy,
    ) -> Result<Result<(PooledConnection, RawReply), NoReply>, CommandError> {
        // Reading the clock is for when it is needed.
        let mut first = None;
        loop {
            let link = self.link(links).await?;
            match link.connection.ask(commands, patience).await {
                Ok(replies) => return Ok(Ok((link, replies))),
                // It ended while idle. The next one is another.
                Err(NoReply::NotSent) if first.get_or_insert_with(Instant::now).elapsed() < self.timeout => {}
                Err(lost) => return Ok(Err(lost)),
            }
        }
    }

    /// A handle of a connection that is whole as far as anybody knows.
    async fn link(&self, links: &managed::Pool<Manager>) -> Result<PooledConnection, CommandError> {
        // Nobody keeps a connection for longer than it takes to clone it, so one is there unless it is being made: a timer,
        // which costs more than the rest of this, is for then.
        let mut now = links.timeouts();
        now.wait = Some(Duration::ZERO);
        let link = match links.timeout_get(&now).await {
            Err(PoolError::Timeout(TimeoutType::Wait)) => {
                // Waiting and connecting after that are one time for this request.
                let wait = timeout(self.timeout, links.get()).await;
                wait.unwrap_or(Err(PoolError::Timeout(TimeoutType::Wait)))
            }
            link => link,
        };
        let reason = match link {
            Ok(link) => return Ok((*link).clone()),
            Err(PoolError::Backend(error)) => reason(&error),
            Err(PoolError::Closed) => return Err(CommandError::NotSent),
            Err(_) => "no connection in time".to_owned(),
        };
        self.voice.gone(&reason);
        Err(CommandError::NotSent)
    }

    /// Learns from a reply.
    fn conclude(&self, link: &PooledConnection, reply: Result<RawReply, RedisError>) -> Result<RawReply, CommandError> {
        let error = match reply {
            Ok(reply) => {
                self.voice.answered();
                return Ok(reply);
            }
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) {
            return Err(CommandError::NoScript);
        }
        if error.code() == Some("WRONGTYPE") {
            self.voice.refused("WRONGTYPE");
            return Err(CommandError::WrongType);
        }
        if let Some(failure) = elsewhere(&error) {
            return Err(failure);
        }
        // Out of memory, no permission, a replica, which goes on to answer reads.
        self.voice.refused(&reason(&error));
        if useless(&error) {
            link.connection.give_up();
            return Err(CommandError::Unavailable);
        }
        Err(CommandError::Refused)
    }
}
