//! A cluster: sends each request to the node that serves its slot.
//!
//! A request that was certainly not applied, because its node is unreachable or redirects it, is sent again until the
//! deadline. So clients do not notice that slots move, and a dead master costs no more than the time to its
//! replacement.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_redis::redis::{Cmd, Value};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, timeout_at};

use crate::store::redis::{
    connection::resp::RawReply,
    endpoint::endpoints::Endpoints,
    error::CommandError,
    log_throttle::LogThrottle,
    pool::{
        manager::Manager,
        request::{PoolSettings, ServerRequest},
        server::Server,
    },
    topology::{
        nodes::Nodes,
        shard_count::{ShardCount, ShardCountCheck},
        shards::Shards,
        slot_table::{STRAGGLERS, SlotTable},
    },
};

/// The pause between two attempts at a slot that is moving or has no master.
const PAUSE: Duration = Duration::from_millis(20);
/// Redirects that are followed at once. After more of them the nodes do not agree yet.
const REDIRECTS: u32 = 3;

/// A cluster. A handle: cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Cluster {
    shared: Arc<ClusterState>,
}

struct ClusterState {
    nodes: Arc<Nodes>,
    slots: SlotTable,
    shard_count: ShardCountCheck,
    timeout: Duration,
    closed: AtomicBool,
    /// Log lines about slots that lead nowhere.
    astray: LogThrottle,
}

impl Cluster {
    pub(crate) fn new(endpoints: Endpoints, settings: PoolSettings) -> Self {
        let nodes = Arc::new(Nodes::new(endpoints, settings));
        let shared = ClusterState {
            slots: SlotTable::new(nodes.clone(), settings.timeout),
            nodes,
            shard_count: ShardCountCheck::default(),
            timeout: settings.timeout,
            closed: AtomicBool::new(false),
            astray: LogThrottle::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Refreshes the slot map whenever a request asks for it, for ever.
    pub(crate) async fn serve_refreshes(self) {
        self.shared.slots.serve_refreshes().await;
    }

    /// Compares our number of shards with that of the sessions in the cluster, and retries until it is known. The first
    /// instance on a cluster decides.
    pub(crate) async fn compare_shard_count(self, shards: Arc<Shards>) {
        let (first, count) = (&shards.all()[0], shards.all().len());
        let (mut claim, mut read) = (Cmd::with_capacity(3, 64), Cmd::with_capacity(2, 64));
        claim.arg("SETNX").arg(first.shards()).arg(count);
        read.arg("GET").arg(first.shards());
        loop {
            let claimed = self.route(first.slot(), || ServerRequest::Command(&claim)).await;
            if let Ok(_) = claimed
                && let Ok(stored) = self.route(first.slot(), || ServerRequest::Command(&read)).await
                && let Ok(Value::BulkString(stored)) = stored.value()
            {
                self.shared.shard_count.compare(&stored, count);
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// The reply of the node that serves the slot. `request` is called for each attempt.
    pub(crate) async fn answer<'a>(
        &self,
        slot: u16,
        request: impl Fn() -> ServerRequest<'a>,
    ) -> Result<RawReply, CommandError> {
        self.refuse_foreign().await?;
        self.route(slot, request).await
    }

    /// Fails unless our number of shards is certainly that of the cluster. Only then does a token that leads to none
    /// of our shards belong to no session.
    pub(crate) async fn confirm_shard_count(&self) -> Result<(), CommandError> {
        match self.shared.shard_count.wait(self.shared.timeout / 4).await {
            ShardCount::Ours => Ok(()),
            ShardCount::Foreign | ShardCount::Unknown => Err(CommandError::Unavailable),
        }
    }

    /// Fails if the number of shards is another one. While it is unknown, as its node is unreachable, other nodes
    /// serve.
    async fn refuse_foreign(&self) -> Result<(), CommandError> {
        match self.shared.shard_count.wait(self.shared.timeout / 4).await {
            ShardCount::Foreign => Err(CommandError::Unavailable),
            ShardCount::Ours | ShardCount::Unknown => Ok(()),
        }
    }

    async fn route<'a>(&self, slot: u16, request: impl Fn() -> ServerRequest<'a>) -> Result<RawReply, CommandError> {
        let shared = &*self.shared;
        let mut moves = 0;
        let deadline = Instant::now() + shared.timeout;
        let mut redirect: Option<(Arc<Server>, bool)> = None;
        loop {
            let map = shared.slots.map();
            let target = redirect
                .take()
                .or_else(|| map.master(slot).map(|(_, node)| (node.clone(), false)));
            let error = match &target {
                Some((node, asking)) => match node.answer(request(), *asking).await {
                    Err(error) => error,
                    reply => return reply,
                },
                None => CommandError::NotSent,
            };
            let follow = |address: &str, asking| {
                let from = target.as_ref().map(|(node, _)| node);
                let node = shared.nodes.redirected(address, from)?;
                Some((node, asking))
            };
            match error {
                CommandError::Moved(address) => {
                    redirect = follow(&address, false);
                    shared.slots.request_refresh(map.generation);
                    moves += 1;
                    if moves > REDIRECTS {
                        sleep(PAUSE).await;
                    }
                }
                CommandError::Ask(address) if matches!(request(), ServerRequest::Read(_)) => {
                    redirect = follow(&address, true);
                }
                // Not followed: a script may need keys that are still at the old node, and would miss them at the new
                // one.
                CommandError::Ask(_) | CommandError::TryAgain => sleep(PAUSE).await,
                CommandError::NotSent => {
                    // A deadline that passes is noticed below.
                    let _ = timeout_at(deadline, shared.slots.refreshed(map.generation)).await;
                    sleep(PAUSE).await;
                }
                CommandError::Unavailable => {
                    // A silent node may have been replaced.
                    shared.slots.request_refresh(map.generation);
                    return Err(CommandError::Unavailable);
                }
                error => return Err(error),
            }
            if Instant::now() >= deadline && moves > REDIRECTS && shared.astray.passes() {
                tracing::warn!(
                    "the nodes of the Redis cluster redirect requests to each other, or to an address without a \
                     node (MOVED)"
                );
            }
            if Instant::now() >= deadline || shared.closed.load(Ordering::Relaxed) {
                return Err(CommandError::Unavailable);
            }
        }
    }

    /// Fails unless any master answers. Why any: an instance must not refuse all requests because some slots are down.
    pub(crate) async fn ping(&self) -> Result<(), CommandError> {
        self.refuse_foreign().await?;
        let map = self.shared.slots.first_map().await;
        let mut pings: FuturesUnordered<_> = map.masters.iter().map(|(_, node)| node.ping()).collect();
        while let Some(pong) = pings.next().await {
            if pong.is_ok() {
                return Ok(());
            }
        }
        self.shared.slots.request_refresh(map.generation);
        Err(CommandError::Unavailable)
    }

    /// The median of the clocks of the masters that answer soon, so that one wrong clock does not count.
    pub(crate) async fn time(&self) -> Result<Duration, CommandError> {
        let map = self.shared.slots.first_map().await;
        let begun = Instant::now();
        let mut asked: FuturesUnordered<_> = map.masters.iter().map(|(_, node)| node.time()).collect();
        let mut times = Vec::new();
        let mut error = CommandError::NotSent;
        let mut end = begun + self.shared.timeout;
        while let Ok(Some(time)) = timeout_at(end, asked.next()).await {
            match time {
                Ok(time) => {
                    end = end.min(Instant::now() + STRAGGLERS);
                    // As of the beginning, so that the times can be compared.
                    times.push(time.saturating_sub(begun.elapsed()));
                }
                Err(why) => error = why,
            }
        }
        times.sort_unstable();
        match times.get(times.len() / 2) {
            Some(time) => Ok(*time + begun.elapsed()),
            None => Err(error),
        }
    }

    /// Accepts no more requests.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.nodes.close();
    }

    /// The address of the master that serves a slot; `None` if it is unknown.
    pub(crate) async fn master(&self, slot: u16) -> Option<String> {
        let map = self.shared.slots.first_map().await;
        map.master(slot).map(|(address, _)| address.clone())
    }

    /// How to connect to a node.
    pub(crate) fn manager(&self, address: &str) -> Manager {
        self.shared.nodes.manager(address)
    }

    /// Asks for a refresh of the slot map.
    pub(crate) fn request_refresh(&self) {
        self.shared.slots.request_refresh(self.shared.slots.map().generation);
    }
}
