//! The nodes of a cluster, and which of them has which slot.
//!
//! A request goes to the node that has the slot as far as we know. What surely was not done, as that node is not there or
//! says that another one has the slot, is tried again until the deadline: nobody sees slots move, and a master that died
//! is waited for. Each node has connections of its own, so that one that is away costs only its own slots.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_redis::redis::{Cmd, Value};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::store::redis::{
    connection::resp::RawReply,
    endpoint::endpoints::Endpoints,
    error::CommandError,
    log_throttle::LogThrottle,
    pool::{
        availability_log::AvailabilityLog,
        connections::{Pool, PoolSettings, ServerRequest},
        manager::Manager,
        server::Server,
    },
    topology::{
        shards::Shards,
        slot_map::{Map, Range, ranges},
    },
};

/// Between two tries at a slot that is moving or has no master.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the slower nodes have to give their view of the cluster after the first one has.
const STRAGGLERS: Duration = Duration::from_millis(100);

/// A cluster. A handle: cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Cluster {
    shared: Arc<Shared>,
}

/// What is known of the layout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Unknown,
    Ours,
    /// The sessions were divided into another number of shards.
    Foreign,
}

struct Shared {
    endpoints: Endpoints,
    limits: PoolSettings,
    map: RwLock<Arc<Map>>,
    /// Every node that was heard of, by address.
    nodes: Mutex<HashMap<String, Arc<Server>>>,
    /// Held by who asks for the map.
    asking: tokio::sync::Mutex<()>,
    closed: AtomicBool,
    layout: watch::Sender<Layout>,
    /// Whether the log says that there is no cluster.
    away: AtomicBool,
    /// For the log: of nodes that only others tell of, and of slots that are nowhere.
    strangers: Arc<LogThrottle>,
    astray: LogThrottle,
}

impl Cluster {
    pub(crate) fn new(endpoints: Endpoints, limits: PoolSettings) -> Self {
        let shared = Shared {
            endpoints,
            limits,
            map: RwLock::default(),
            nodes: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            layout: watch::Sender::new(Layout::Unknown),
            away: AtomicBool::new(false),
            strangers: Arc::default(),
            astray: LogThrottle::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Finds out whether the sessions are divided as we divide them, for as long as that takes. The first instance says how
    /// they are.
    pub(crate) async fn compare(self, keys: Arc<Shards>) {
        let first = &keys.all()[0];
        let (mut claim, mut read) = (Cmd::with_capacity(3, 64), Cmd::with_capacity(2, 64));
        claim.arg("SETNX").arg(first.shards()).arg(keys.all().len());
        read.arg("GET").arg(first.shards());
        loop {
            let claimed = self.ask(first.slot(), || ServerRequest::Command(&claim)).await;
            if let (Ok(_), Ok(count)) = (claimed, self.ask(first.slot(), || ServerRequest::Command(&read)).await)
                && let Ok(Value::BulkString(count)) = count.value()
            {
                let count = String::from_utf8_lossy(&count).into_owned();
                let ours = count == keys.all().len().to_string();
                if !ours {
                    tracing::error!("the sessions in this cluster are in {count} shards: --shards must be the same");
                }
                self.shared
                    .layout
                    .send_replace(if ours { Layout::Ours } else { Layout::Foreign });
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// The reply to what `request` makes, from whoever has the slot.
    pub(crate) async fn answer<'a>(
        &self,
        slot: u16,
        request: impl Fn() -> ServerRequest<'a>,
    ) -> Result<RawReply, CommandError> {
        if self.layout().await == Layout::Foreign {
            return Err(CommandError::Unavailable);
        }
        self.ask(slot, request).await
    }

    /// Fails unless it is known that a token that leads to none of our shards leads nowhere.
    pub(crate) async fn is_ours(&self) -> Result<(), CommandError> {
        match self.layout().await {
            Layout::Ours => Ok(()),
            Layout::Foreign | Layout::Unknown => Err(CommandError::Unavailable),
        }
    }

    /// Waits for the layout, but not for ever: the node that knows it may be away, and others are not.
    async fn layout(&self) -> Layout {
        let now = *self.shared.layout.borrow();
        if now != Layout::Unknown {
            return now;
        }
        let mut changes = self.shared.layout.subscribe();
        let known = changes.wait_for(|layout| *layout != Layout::Unknown);
        match timeout(self.shared.limits.timeout / 4, known).await {
            Ok(Ok(known)) => *known,
            _ => Layout::Unknown,
        }
    }

    async fn ask<'a>(&self, slot: u16, request: impl Fn() -> ServerRequest<'a>) -> Result<RawReply, CommandError> {
        let mut moves = 0;
        let deadline = Instant::now() + self.shared.limits.timeout;
        let mut told: Option<(Arc<Server>, bool)> = None;
        loop {
            let map = self.shared.map();
            let known = told.take().or_else(|| Some((map.master(slot)?, false)));
            let failure = match &known {
                Some((node, asking)) => match node.pool.answer(request(), *asking).await {
                    Err(failure) => failure,
                    reply => return reply,
                },
                None => CommandError::NotSent,
            };
            match failure {
                CommandError::Moved(address) => {
                    told = self.shared.told_of(&address, known).map(|node| (node, false));
                    self.look_again_after(map.generation);
                    moves += 1;
                    if moves > 3 {
                        // They do not agree yet.
                        sleep(PAUSE).await;
                    }
                }
                CommandError::Ask(address) if matches!(request(), ServerRequest::Read(_)) => {
                    told = self.shared.told_of(&address, known).map(|node| (node, true));
                }
                // A script needs keys that may still be at the old node, and would not be missed at the new one.
                CommandError::Ask(_) | CommandError::TryAgain => sleep(PAUSE).await,
                CommandError::NotSent => {
                    // Bounded: a deadline that has passed is looked at below.
                    let _ = timeout_at(deadline, self.shared.refresh(map.generation)).await;
                    sleep(PAUSE).await;
                }
                CommandError::Unavailable => {
                    // Perhaps another node has taken over from one that is silent.
                    self.look_again_after(map.generation);
                    return Err(CommandError::Unavailable);
                }
                failure => return Err(failure),
            }
            if Instant::now() >= deadline && moves > 3 && self.shared.astray.passes() {
                tracing::warn!(
                    "the nodes of the Redis cluster send requests to each other, or to where no node is (MOVED)"
                );
            }
            if Instant::now() >= deadline || self.shared.closed.load(Ordering::Relaxed) {
                return Err(CommandError::Unavailable);
            }
        }
    }

    /// Whether any master answers: instances do not turn away all requests because some cannot be served.
    pub(crate) async fn ping(&self) -> Result<(), CommandError> {
        if self.layout().await == Layout::Foreign {
            return Err(CommandError::Unavailable);
        }
        let mut map = self.shared.map();
        if map.masters.is_empty() {
            self.shared.refresh(map.generation).await;
            map = self.shared.map();
        }
        let mut pings: FuturesUnordered<_> = map.masters.iter().map(|(_, node)| node.ping()).collect();
        while let Some(pong) = pings.next().await {
            if pong.is_ok() {
                return Ok(());
            }
        }
        self.look_again_after(map.generation);
        Err(CommandError::Unavailable)
    }

    /// The median of the clocks of the masters that answer soon: one that is off does not count.
    pub(crate) async fn time(&self) -> Result<Duration, CommandError> {
        let mut map = self.shared.map();
        if map.masters.is_empty() {
            self.shared.refresh(map.generation).await;
            map = self.shared.map();
        }
        let begun = Instant::now();
        let mut asked: FuturesUnordered<_> = map.masters.iter().map(|(_, node)| node.pool.time()).collect();
        let mut times = Vec::new();
        let mut failure = CommandError::NotSent;
        let mut end = begun + self.shared.limits.timeout;
        while let Ok(Some(time)) = timeout_at(end, asked.next()).await {
            match time {
                Ok(time) => {
                    end = end.min(Instant::now() + STRAGGLERS);
                    // As of the beginning, so that they can be compared.
                    times.push(time.saturating_sub(begun.elapsed()));
                }
                Err(why) => failure = why,
            }
        }
        times.sort_unstable();
        match times.get(times.len() / 2) {
            Some(time) => Ok(*time + begun.elapsed()),
            None => Err(failure),
        }
    }

    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        for node in self.shared.lock().values() {
            node.pool.close();
        }
    }

    /// The address of who has a slot, as far as is known.
    pub(crate) async fn master(&self, slot: u16) -> Option<String> {
        let mut map = self.shared.map();
        if map.masters.is_empty() {
            self.shared.refresh(map.generation).await;
            map = self.shared.map();
        }
        map.address(slot).map(str::to_owned)
    }

    /// How to connect to a node.
    pub(crate) fn manager(&self, address: &str) -> Manager {
        self.shared.manager(address)
    }

    /// Asks for the map in the background.
    pub(crate) fn look_again(&self) {
        self.look_again_after(self.shared.map().generation);
    }

    /// The same, if nobody has since that generation.
    fn look_again_after(&self, generation: u64) {
        let shared = self.shared.clone();
        tokio::spawn(async move { shared.refresh(generation).await });
    }
}

impl Shared {
    fn map(&self) -> Arc<Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A panic under the lock leaves the nodes whole: each change is a single step.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Server>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manager(&self, address: &str) -> Manager {
        Manager::fixed(
            self.endpoints.at(address),
            self.endpoints.tls.clone(),
            self.limits.timeout,
        )
    }

    /// The node at an address, which need not be known yet.
    fn node(&self, address: &str) -> Arc<Server> {
        self.node_with(address, AvailabilityLog::of)
    }

    /// The node that another one tells of. Without a host, it is at that of the one that told.
    fn told_of(&self, address: &str, teller: Option<(Arc<Server>, bool)>) -> Option<Arc<Server>> {
        let mut address = address.to_owned();
        if let Some(("" | "?", port)) = address.rsplit_once(':') {
            let (teller, _) = teller?;
            let nodes = self.lock();
            let (known, _) = nodes.iter().find(|(_, node)| Arc::ptr_eq(node, &teller))?;
            let (host, _) = known.rsplit_once(':')?;
            address = format!("{host}:{port}");
        }
        Some(self.node_with(&address, |at| AvailabilityLog::of_stranger(at, self.strangers.clone())))
    }

    fn node_with(&self, address: &str, voice: impl FnOnce(String) -> AvailabilityLog) -> Arc<Server> {
        let mut nodes = self.lock();
        let start = || {
            let pool = Pool::new(self.manager(address), voice(format!(" at {address}")), self.limits);
            Arc::new(Server::start(pool))
        };
        nodes.entry(address.to_owned()).or_insert_with(start).clone()
    }

    /// Asks the nodes for the map, unless somebody has since that generation.
    async fn refresh(&self, generation: u64) {
        let _turn = self.asking.lock().await;
        if self.map().generation != generation || self.closed.load(Ordering::Relaxed) {
            return;
        }
        let mut addresses: Vec<String> = self.map().masters.iter().map(|(address, _)| address.clone()).collect();
        addresses.extend(self.endpoints.seeds());
        addresses.sort_unstable();
        addresses.dedup();
        let views = self.views(&addresses).await;
        if views.is_empty() {
            if !self.away.swap(true, Ordering::Relaxed) {
                tracing::warn!("no node of the Redis cluster answers, or what answers is no cluster");
            }
            return;
        }
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("the Redis cluster is back");
        }
        let map = Map::of(&views, generation + 1, |address| self.node(address));
        self.lock()
            .retain(|address, _| map.masters.iter().any(|(master, _)| master == address));
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    /// What each node that answers in time says: ranges of slots and their master.
    async fn views(&self, addresses: &[String]) -> Vec<Vec<Range>> {
        let ask = async |address: &String| {
            let mut cmd = Cmd::with_capacity(2, 16);
            cmd.arg("CLUSTER").arg("SLOTS");
            let node = self.node(address);
            let reply = timeout(
                self.limits.timeout,
                node.pool.answer(ServerRequest::Command(&cmd), false),
            )
            .await;
            ranges(reply.ok()?.ok()?.value().ok()?, address)
        };
        let mut asked: FuturesUnordered<_> = addresses.iter().map(ask).collect();
        let mut views = Vec::new();
        let mut end = Instant::now() + self.limits.timeout;
        loop {
            let next = tokio::select! {
                next = asked.next() => next,
                () = sleep_until(end) => None,
            };
            match next {
                Some(Some(view)) => {
                    end = end.min(Instant::now() + STRAGGLERS);
                    views.push(view);
                }
                Some(None) => {}
                None => return views,
            }
        }
    }
}
