//! One server: its connections, and the task that sends changes which must reach replicas.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, Value};
use tokio::task::AbortHandle;

use crate::{
    process::supervisor,
    store::redis::{
        connection::{resp::RawReply, retry::RetryPolicy},
        error::CommandError,
        pool::{
            availability_log::AvailabilityLog,
            connections::Connections,
            manager::Manager,
            request::{PoolSettings, ServerRequest},
            wait_replicas::ReplicatedChanges,
        },
    },
};

/// Logged for a reply that Redis cannot give to the command.
const NONSENSE: &str = "the reply does not fit the command: is a proxy or another kind of server in between?";

/// One server.
pub(crate) struct Server {
    connections: Connections,
    log: Arc<AvailabilityLog>,
    replicated: Option<Replicated>,
}

/// Changes for replicas, and their task.
struct Replicated {
    changes: Arc<ReplicatedChanges>,
    task: AbortHandle,
}

impl Drop for Replicated {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// A server to which connections are made when requests need them.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn new(manager: &Manager, log: AvailabilityLog, settings: PoolSettings) -> Self {
        let log = Arc::new(log);
        let connections = |count| Connections::new(manager.clone(), log.clone(), settings.timeout, count);
        let replicated = (settings.replicas > 0).then(|| {
            let changes = ReplicatedChanges::new(connections(1), settings.replicas, settings.timeout);
            let changes = Arc::new(changes);
            let served = changes.clone();
            let serve = move || {
                let changes = served.clone();
                async move { changes.serve().await }
            };
            let task = supervisor::spawn("task that replicates changes", serve).abort_handle();
            Replicated { changes, task }
        });
        Self {
            connections: connections(settings.connections),
            log,
            replicated,
        }
    }

    /// Sends a request; twice if Redis had to learn a script. With `asking` a node of a cluster serves a slot that it
    /// is still importing.
    pub(crate) async fn answer(&self, request: ServerRequest<'_>, asking: bool) -> Result<RawReply, CommandError> {
        match request {
            ServerRequest::Read(cmd) | ServerRequest::Command(cmd) => {
                self.connections.send(cmd, asking, RetryPolicy::AfterHalf).await
            }
            ServerRequest::Change(script, arguments) if let Some(replicated) = &self.replicated => {
                replicated.changes.answer(script, arguments).await
            }
            ServerRequest::Script(script, arguments) | ServerRequest::Change(script, arguments) => {
                let by_hash = script.by_hash(arguments);
                match self.connections.send(&by_hash, asking, script.retry()).await {
                    Err(CommandError::NoScript) => {
                        let by_source = script.by_source(arguments);
                        self.connections.send(&by_source, asking, script.retry()).await
                    }
                    result => result,
                }
            }
        }
    }

    /// The same for the only server: a redirect means that it is a node of a cluster, which is logged.
    pub(crate) async fn answer_alone(&self, request: ServerRequest<'_>) -> Result<RawReply, CommandError> {
        let reply = self.answer(request, false).await;
        if let Err(CommandError::Moved(_) | CommandError::Ask(_) | CommandError::TryAgain) = &reply {
            self.log.refused("it is a node of a cluster, see --redis-mode");
        }
        reply
    }

    /// Fails unless the server answers.
    pub(crate) async fn ping(&self) -> Result<(), CommandError> {
        let mut cmd = Cmd::with_capacity(1, 4);
        cmd.arg("PING");
        let pong = self.answer(ServerRequest::Command(&cmd), false).await?;
        match pong.value() {
            Ok(Value::SimpleString(text)) if text == "PONG" => Ok(()),
            _ => Err(self.nonsense()),
        }
    }

    /// The time of the server since the Unix epoch.
    pub(crate) async fn time(&self) -> Result<Duration, CommandError> {
        let mut cmd = Cmd::with_capacity(1, 4);
        cmd.arg("TIME");
        let reply = self.answer(ServerRequest::Command(&cmd), false).await?;
        time_in(&reply).ok_or_else(|| self.nonsense())
    }

    fn nonsense(&self) -> CommandError {
        self.log.refused(NONSENSE);
        CommandError::Refused
    }

    /// Gives up every connection that does not lead to the master at `address`. Says whether there was any.
    pub(crate) fn leave_all_but(&self, address: &str) -> bool {
        let left = self
            .all_connections()
            .map(|connections| connections.leave_all_but(address));
        left.fold(false, |any, left| any | left)
    }

    /// Accepts no more requests.
    pub(crate) fn close(&self) {
        self.all_connections().for_each(Connections::close);
    }

    fn all_connections(&self) -> impl Iterator<Item = &Connections> {
        let replicated = self
            .replicated
            .as_ref()
            .map(|replicated| &replicated.changes.connection);
        [&self.connections].into_iter().chain(replicated)
    }
}

/// The reply to `TIME`: seconds and microseconds, as strings.
fn time_in(reply: &RawReply) -> Option<Duration> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let [seconds, micros] = reply.strings()?;
    let (seconds, micros) = (number(seconds?)?, number(micros?)?);
    // From 2001 to 2286: anything else is not a clock.
    let sound = (1_000_000_000..10_000_000_000).contains(&seconds) && micros < 1_000_000;
    sound.then(|| Duration::from_secs(seconds) + Duration::from_micros(micros))
}
