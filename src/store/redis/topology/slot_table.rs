//! The current slot map of a cluster, and the one task that refreshes it.
//!
//! Requests that meet a redirect or an unreachable node ask for a refresh. Any number of them share one: the task asks
//! all known nodes and seeds for `CLUSTER SLOTS` and takes the view of the majority.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_redis::redis::Cmd;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::store::redis::{
    pool::{request::ServerRequest, server::Server},
    topology::{
        nodes::Nodes,
        slot_map::{SlotMap, SlotRange, ranges},
    },
};

/// The shortest time between two refreshes.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the slower nodes may take to answer after the first one has.
pub(super) const STRAGGLERS: Duration = Duration::from_millis(100);

/// The map of slots to nodes.
pub(super) struct SlotTable {
    nodes: Arc<Nodes>,
    map: RwLock<Arc<SlotMap<Arc<Server>>>>,
    wanted: Notify,
    /// How many refreshes have ended, successful or not.
    ended: watch::Sender<u64>,
    /// The longest wait for the views of the nodes.
    timeout: Duration,
    /// Whether the log says that no node answers.
    unreachable: AtomicBool,
}

impl SlotTable {
    pub(super) fn new(nodes: Arc<Nodes>, timeout: Duration) -> Self {
        Self {
            nodes,
            map: RwLock::default(),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
            timeout,
            unreachable: AtomicBool::new(false),
        }
    }

    /// The current map.
    pub(super) fn map(&self) -> Arc<SlotMap<Arc<Server>>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The current map; before the first one, the result of the next refresh.
    pub(super) async fn first_map(&self) -> Arc<SlotMap<Arc<Server>>> {
        let map = self.map();
        if !map.masters.is_empty() {
            return map;
        }
        self.refreshed(map.generation).await;
        self.map()
    }

    /// Asks for a refresh of the map of this generation, unless there is a newer one already.
    pub(super) fn request_refresh(&self, generation: u64) {
        if self.map().generation == generation {
            self.wanted.notify_one();
        }
    }

    /// The same, and waits for the end of a refresh.
    pub(super) async fn refreshed(&self, generation: u64) {
        let mut ended = self.ended.subscribe();
        if self.map().generation == generation {
            self.wanted.notify_one();
            // Bounded, as the task ends with the store.
            let _ = timeout(self.timeout + STRAGGLERS, ended.changed()).await;
        }
    }

    /// Refreshes the map whenever a request asks for it, for ever.
    pub(super) async fn serve_refreshes(&self) {
        loop {
            self.wanted.notified().await;
            self.refresh().await;
            self.ended.send_modify(|count| *count += 1);
            sleep(PAUSE).await;
        }
    }

    async fn refresh(&self) {
        let before = self.map();
        let mut addresses: Vec<String> = before.masters.iter().map(|(address, _)| address.clone()).collect();
        addresses.extend(self.nodes.seeds());
        addresses.sort_unstable();
        addresses.dedup();
        let views = self.views(&addresses).await;
        if views.is_empty() {
            if !self.unreachable.swap(true, Ordering::Relaxed) {
                tracing::warn!("no node of the Redis cluster answers, or the servers are not nodes of a cluster");
            }
            return;
        }
        if self.unreachable.swap(false, Ordering::Relaxed) {
            tracing::info!("the Redis cluster is reachable again");
        }
        let map = SlotMap::of_majority(&views, before.generation + 1, |address| self.nodes.node(address));
        self.nodes
            .retain(|address| map.masters.iter().any(|(master, _)| master == address));
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    /// The view of each node that answers in time.
    async fn views(&self, addresses: &[String]) -> Vec<Vec<SlotRange>> {
        let ask = async |address: &String| {
            let mut cmd = Cmd::with_capacity(2, 16);
            cmd.arg("CLUSTER").arg("SLOTS");
            let node = self.nodes.node(address);
            let reply = timeout(self.timeout, node.answer(ServerRequest::Command(&cmd), false)).await;
            ranges(reply.ok()?.ok()?.value().ok()?, address)
        };
        let mut asked: FuturesUnordered<_> = addresses.iter().map(ask).collect();
        let mut views = Vec::new();
        let mut end = Instant::now() + self.timeout;
        while let Ok(Some(view)) = timeout_at(end, asked.next()).await {
            if let Some(view) = view {
                end = end.min(Instant::now() + STRAGGLERS);
                views.push(view);
            }
        }
        views
    }
}
