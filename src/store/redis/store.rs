//! The store on Redis: its options, its parts and its background tasks. The operations are in
//! [`operations`](super::operations).
//!
//! Every operation on a session or an id is one atomic script or command and one round trip; on an id with more than
//! 100 sessions, several. A get is one plain read; its changes follow a little later
//! ([`read_buffer`](super::read_buffer)), or in one script with it if buffering is off. With a
//! [`near_cache`](super::near_cache) many gets need no read. All instances use the clock of Redis ([`ClockSync`]):
//! times are arguments of scripts and commands.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    observability::metrics::Metrics,
    session::{Seconds, Token},
    store::{
        Error,
        list_window::WindowBudget,
        redis::{
            background_tasks::BackgroundTasks,
            clock_sync::ClockSync,
            endpoint::{
                address::{Address, Deployment},
                endpoints::Endpoints,
            },
            layout::Keys,
            near_cache::{cache::NearCache, invalidation::Listener, masters::Masters},
            pool::{availability_log::AvailabilityLog, manager::Manager, request::PoolSettings, server::Server},
            read_buffer::flusher::Flusher,
            scripts::Scripts,
            sentinel::query::Sentinels,
            topology::{cluster::Cluster, failover, routing::Topology, shards::Shards},
        },
        throttle::Throttle,
    },
};

/// How to reach Redis and how to use it. No `Debug`, as it may contain passwords.
pub struct Options {
    /// The addresses and credentials.
    pub address: Address,
    /// The prefix of every key, without the colon that follows it.
    pub namespace: String,
    /// The number of shards of a cluster, 1 to 256. Must never change.
    pub shards: usize,
    /// The deadline around each operation. Waits for a connection and for a reply end after nine tenths of it, so that
    /// they log why before the operation is given up.
    pub timeout: Duration,
    /// How many connections to each server all requests share, at least 1.
    pub connections: usize,
    /// How many replicas must acknowledge a create, a set or a kill before it is answered; 0: none.
    pub replicas: u16,
    /// How long reads are buffered before they are written to Redis; 0: each get writes its own.
    pub touch: Duration,
    /// How long a session may be answered from memory after it was read; 0: never. Needs a `touch` above 0.
    pub cachetime: Duration,
    /// The most sessions that are kept in memory for that, at least 1.
    pub cachemax: usize,
    /// The clock of this machine, which is compared with that of Redis.
    pub clock: Clock,
}

/// The store on a Redis server, a cluster, or a server that speaks the same protocol.
pub struct Redis {
    pub(super) topology: Arc<Topology>,
    pub(super) shards: Arc<Shards>,
    pub(super) scripts: Arc<Scripts>,
    pub(super) flusher: Arc<Flusher>,
    pub(super) clock_sync: Arc<ClockSync>,
    pub(super) near_cache: Option<Arc<NearCache>>,
    _tasks: BackgroundTasks,
    pub(super) throttle: Throttle,
    /// Shared by the windows of all lists.
    pub(super) budget: WindowBudget,
    pub(super) metrics: Arc<Metrics>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis(…)")
    }
}

impl Redis {
    /// A store that connects when requests need it: Redis need not be up yet. Fails with one line, free of secrets, if
    /// the address is invalid.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(options: Options, metrics: Arc<Metrics>) -> Result<Self, String> {
        let endpoints = Endpoints::new(options.address)?;
        let timeout = options.timeout * 9 / 10;
        let settings = PoolSettings {
            timeout,
            connections: options.connections,
            replicas: options.replicas,
        };
        let near_cache = (!options.cachetime.is_zero())
            .then(|| Arc::new(NearCache::new(options.cachetime, options.cachemax, &metrics)));
        let mut tasks = BackgroundTasks::default();
        let shards = Arc::new(match endpoints.mode {
            Deployment::Single | Deployment::Sentinel(_) => Shards::one(&options.namespace),
            Deployment::Cluster => Shards::many(&options.namespace, options.shards),
        });
        let (topology, masters) = connect(endpoints, settings, &shards, near_cache.as_ref(), &mut tasks);
        if let Some(near_cache) = &near_cache {
            let listener = Listener::new(near_cache.clone(), shards.all()[0].channel(), masters, timeout);
            let listener = Arc::new(listener);
            tasks.spawn("listener of the near cache", move || listener.clone().run());
        }
        let topology = Arc::new(topology);
        let flusher = Flusher::new(
            options.touch,
            near_cache.clone(),
            topology.clone(),
            shards.clone(),
            metrics.clone(),
        );
        let flusher = Arc::new(flusher);
        if !options.touch.is_zero() {
            let flusher = flusher.clone();
            tasks.spawn("flusher of reads", move || flusher.clone().run());
        }
        let clock_sync = Arc::new(ClockSync::new(options.clock, &metrics));
        {
            let (clock_sync, topology) = (clock_sync.clone(), topology.clone());
            tasks.spawn("synchronisation with the clock of Redis", move || {
                clock_sync.clone().follow(topology.clone())
            });
        }
        Ok(Self {
            topology,
            shards,
            scripts: Arc::new(Scripts::new()),
            flusher,
            clock_sync,
            near_cache,
            _tasks: tasks,
            throttle: Throttle::new(options.timeout),
            budget: WindowBudget::new(),
            metrics,
        })
    }

    /// The shard of a session; `None` if its token cannot belong to a session.
    pub(super) async fn shard(&self, token: &Token) -> Result<Option<&Keys>, Error> {
        let keys = self.shards.of(token);
        if keys.is_none() {
            self.topology.confirm_shards().await?;
        }
        Ok(keys)
    }

    /// The clock that all instances on this Redis share.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock_sync.clock()
    }

    /// The current second for an operation, for which `now` was taken from [`Redis::clock`].
    pub(super) async fn resolve_now(&self, now: Seconds) -> Result<Seconds, Error> {
        self.clock_sync.resolve_now(&self.topology, now).await
    }

    /// Runs a flush to its end, also if the client disconnects meanwhile.
    pub(super) async fn flush_detached<F>(&self, flush: impl FnOnce(Arc<Flusher>) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let flush = tokio::spawn(flush(self.flusher.clone()));
        flush.await.unwrap_or(Err(Error::Internal))
    }

    /// See [`Store::ping`](crate::store::Store::ping).
    pub async fn ping(&self) -> Result<(), Error> {
        self.topology.ping().await
    }

    /// Writes the buffered reads and closes the connections. Operations in flight finish; later ones fail.
    pub async fn close(&self) -> Result<(), Error> {
        let flushed = self
            .flush_detached(async move |flusher| flusher.flush(|_| true).await)
            .await;
        self.topology.close();
        flushed
    }
}

/// The servers of a deployment, with the tasks that follow changes of it, and the masters that the near cache listens
/// to.
fn connect(
    endpoints: Endpoints,
    settings: PoolSettings,
    shards: &Arc<Shards>,
    near_cache: Option<&Arc<NearCache>>,
    tasks: &mut BackgroundTasks,
) -> (Topology, Masters) {
    let server = |manager: &Manager| {
        let log = AvailabilityLog::new(String::new());
        Arc::new(Server::new(manager, log, settings))
    };
    match endpoints.mode.clone() {
        Deployment::Single => {
            let (info, tls) = (endpoints.first[0].clone(), endpoints.tls.clone());
            let manager = Manager::fixed(info, tls, settings.timeout);
            (Topology::One(server(&manager)), Masters::One(manager))
        }
        Deployment::Sentinel(name) => {
            let sentinels = Arc::new(Sentinels::new(endpoints, name, settings.timeout));
            let manager = Manager::by_sentinels(sentinels.clone(), settings.timeout);
            let server = server(&manager);
            let (followed, left, near_cache) = (sentinels.clone(), server.clone(), near_cache.cloned());
            tasks.spawn("task that follows the master", move || {
                let near_cache = near_cache.clone();
                // Invalidations of the new master are missed until the listener has subscribed there.
                let on_switch = move || near_cache.iter().for_each(|near_cache| near_cache.lose());
                failover::follow(followed.clone(), left.clone(), on_switch)
            });
            (Topology::One(server), Masters::Sentinels(manager, sentinels))
        }
        Deployment::Cluster => {
            let cluster = Cluster::new(endpoints, settings);
            let refreshed = cluster.clone();
            tasks.spawn("refresh of the slots", move || refreshed.clone().serve_refreshes());
            let (compared, of) = (cluster.clone(), shards.clone());
            tasks.spawn("comparison of the shards", move || {
                compared.clone().compare_shard_count(of.clone())
            });
            let masters = Masters::Cluster(cluster.clone(), shards.clone());
            (Topology::Cluster(cluster), masters)
        }
    }
}
