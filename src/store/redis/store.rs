//! Sessions in Redis, in the layout that redis-sessions peers share ("classic", see `keys`), or on a cluster in many shards
//! of the same form.
//!
//! Every operation on a session or an id is one atomic script or command, and one round trip; on an id with more than 100
//! sessions, several. A get is one plain read; what it changes follows a little later (`pending`, `touch`), or in one script
//! with it where that is switched off. With a near cache (`near`) many gets need no read. All instances go by the clock of
//! Redis ([`ClockSync`]), of which they have a copy: times are arguments of scripts and commands.

use std::{fmt, sync::Arc, time::Duration};

use tokio::task::AbortHandle;

use crate::{
    clock::Clock,
    observability::metrics::Metrics,
    session::{Seconds, Token},
    store::{
        Error,
        list_window::WindowBudget,
        redis::{
            clock_sync::ClockSync,
            endpoint::{
                address::{Address, Deployment},
                endpoints::Endpoints,
            },
            layout::Keys,
            near_cache::{
                cache::NearCache,
                invalidation::{Listener, Source},
            },
            pool::{
                availability_log::AvailabilityLog,
                connections::{Pool, PoolSettings},
                manager::Manager,
                server::Server,
            },
            read_buffer::flusher::Flusher,
            scripts::Scripts,
            sentinel::query::Sentinels,
            topology::{cluster::Cluster, failover, routing::Topology, shards::Shards},
        },
        throttle::Throttle,
    },
};

/// How to reach Redis, and how to use it. No `Debug`: there may be passwords in it.
pub struct Options {
    /// Where it is.
    pub address: Address,
    /// What every key begins with, without the colon that follows it.
    pub namespace: String,
    /// Into how many parts a cluster divides the sessions, 1 to 256. Must never change.
    pub shards: usize,
    /// The deadline around each operation. Waiting for a connection and waiting for a reply get nine tenths of it: who
    /// gives up first is who learns that Redis does not answer.
    pub timeout: Duration,
    /// How many connections to each server all requests share; at least 1.
    pub connections: usize,
    /// How many replicas must have a create, a set or a kill before it is answered; 0: it is not asked.
    pub replicas: u16,
    /// How long the reads of a get may take to reach Redis; 0: they are part of the get.
    pub touch: Duration,
    /// How long a session may be answered from memory after it was read; 0: never. Needs a `touch` that is not 0.
    pub cachetime: Duration,
    /// The most sessions in memory for that, at least 1.
    pub cachemax: usize,
    /// The clock of this machine, to be compared with that of Redis.
    pub clock: Clock,
}

/// A Redis server or a cluster of them, or topology that speak its protocol.
pub struct Redis {
    pub(super) topology: Arc<Topology>,
    pub(super) shards: Arc<Shards>,
    pub(super) scripts: Arc<Scripts>,
    pub(super) flusher: Arc<Flusher>,
    pub(super) clock_sync: Arc<ClockSync>,
    pub(super) near_cache: Option<Arc<NearCache>>,
    tasks: Vec<AbortHandle>,
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
    /// Gets ready to connect; Redis need not be up yet. Fails with one line, free of secrets, if the address makes no sense.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(options: Options, metrics: Arc<Metrics>) -> Result<Self, String> {
        let endpoints = Endpoints::new(options.address)?;
        let timeout = options.timeout * 9 / 10;
        let limits = PoolSettings {
            timeout,
            connections: options.connections,
            replicas: options.replicas,
        };
        let near = (!options.cachetime.is_zero())
            .then(|| Arc::new(NearCache::new(options.cachetime, options.cachemax, &metrics)));
        let mut tasks = Vec::new();
        let one =
            |manager: &Manager| Server::start(Pool::new(manager.clone(), AvailabilityLog::of(String::new()), limits));
        let shards = Arc::new(match endpoints.mode {
            Deployment::Single | Deployment::Sentinel(_) => Shards::one(&options.namespace),
            Deployment::Cluster => Shards::many(&options.namespace, options.shards),
        });
        let (topology, source) = match endpoints.mode.clone() {
            Deployment::Single => {
                let manager = Manager::fixed(endpoints.first[0].clone(), endpoints.tls.clone(), timeout);
                (Topology::One(one(&manager)), Source::One(manager))
            }
            Deployment::Sentinel(name) => {
                let sentinels = Arc::new(Sentinels::new(endpoints, name, timeout));
                let manager = Manager::by_sentinels(sentinels.clone(), timeout);
                let server = one(&manager);
                let cache = near.clone();
                // Until the new master is listened to.
                let on_switch = move || cache.iter().for_each(|cache| cache.lose());
                let watch = failover::follow(sentinels.clone(), server.pool.clone(), on_switch);
                tasks.push(tokio::spawn(watch).abort_handle());
                (Topology::One(server), Source::Sentinels(manager, sentinels))
            }
            Deployment::Cluster => {
                let cluster = Cluster::new(endpoints, limits);
                tasks.push(tokio::spawn(cluster.clone().compare(shards.clone())).abort_handle());
                (
                    Topology::Cluster(cluster.clone()),
                    Source::Cluster(cluster, shards.clone()),
                )
            }
        };
        if let Some(near) = &near {
            let listener = Listener::new(near.clone(), shards.all()[0].channel(), source, timeout);
            tasks.push(tokio::spawn(listener.run()).abort_handle());
        }
        let topology = Arc::new(topology);
        let flusher = Flusher::new(
            options.touch,
            near.clone(),
            topology.clone(),
            shards.clone(),
            metrics.clone(),
        );
        let flusher = Arc::new(flusher);
        if !options.touch.is_zero() {
            tasks.push(tokio::spawn(flusher.clone().run()).abort_handle());
        }
        let clock_sync = Arc::new(ClockSync::new(options.clock, &metrics));
        let follow = {
            let (time, topology) = (clock_sync.clone(), topology.clone());
            async move { time.follow(&topology).await }
        };
        tasks.push(tokio::spawn(follow).abort_handle());
        Ok(Self {
            topology,
            shards,
            scripts: Arc::new(Scripts::new()),
            flusher,
            clock_sync,
            near_cache: near,
            tasks,
            throttle: Throttle::new(options.timeout),
            budget: WindowBudget::new(),
            metrics,
        })
    }

    /// The shard of a session; `None` if there cannot be one with this token.
    pub(super) async fn shard(&self, token: &Token) -> Result<Option<&Keys>, Error> {
        let keys = self.shards.of(token);
        if keys.is_none() {
            self.topology.know_all_shards().await?;
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
        self.clock_sync.settled(&self.topology, now).await
    }

    /// Waits until notes are written. The client may have gone before: the work is not cut short by it.
    pub(super) async fn flush_detached<F>(&self, flush: impl FnOnce(Arc<Flusher>) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let flush = tokio::spawn(flush(self.flusher.clone()));
        flush.await.unwrap_or(Err(Error::Internal))
    }

    /// See [`Store::ping`](super::Store::ping).
    pub async fn ping(&self) -> Result<(), Error> {
        self.topology.ping().await
    }

    /// Writes what is noted and lets go of the connections. Operations under way finish; later ones fail.
    pub async fn close(&self) -> Result<(), Error> {
        let written = self
            .flush_detached(async move |flusher| flusher.flush(|_| true).await)
            .await;
        self.topology.close();
        written
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
