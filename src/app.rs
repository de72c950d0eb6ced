//! The life of a server: open the store, serve, wipe, drain, close.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    clock::Clock,
    config::{self, Config},
    http::{AppState, middleware, router},
    observability::metrics::Metrics,
    process::{StartError, supervisor},
    server::{self, Limits, listeners::Listeners},
    service::Service,
    store::{
        Backend, Store,
        embedded::Embedded,
        redis::{self, Redis},
    },
};

/// Opens the store, serves on `listeners` until `shutdown` resolves, drains, and closes the store.
pub async fn run(
    config: &Config,
    clock: Clock,
    listeners: impl Into<Listeners>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    run_until(config, clock, listeners, shutdown, || ()).await
}

/// Does what [`run`] does, and calls `drained` once no request is in flight or the drain deadline has passed.
pub async fn run_until(
    config: &Config,
    clock: Clock,
    listeners: impl Into<Listeners>,
    shutdown: impl Future<Output = ()>,
    drained: impl FnOnce(),
) -> Result<(), StartError> {
    let metrics = Arc::new(Metrics::new());
    let backend = open(config, clock.clone(), metrics.clone()).await?;
    let clock = backend.clock().unwrap_or(clock);
    let store = Store::new(backend, config.timeout.0, metrics.clone());
    let service = Arc::new(Service::new(store, clock, metrics.clone()));
    let state = AppState::new(service.clone(), metrics, config.timeout.0, &config.cookie);
    let listeners = listeners.into();
    listeners.announce();
    // Why a task: connections must not wait for a store that does not answer.
    let probe = {
        let service = service.clone();
        supervisor::spawn("first probe of the store", move || probe(service.clone()))
    };
    let wiper = (config.wipe > 0).then(|| {
        let (service, every) = (service.clone(), Duration::from_secs(config.wipe));
        supervisor::spawn("wiper", move || wipe(service.clone(), every))
    });
    let limits = Limits {
        idle: config.idle_timeout.0,
        connections: config.max_connections,
        drain_delay: config.drain_delay.0,
        drain_timeout: config.drain_timeout.0,
    };
    let stack = middleware::wrap(&router::table(), &state);
    server::serve(listeners, stack, &state, limits, shutdown).await;
    drained();
    for task in wiper.into_iter().chain([probe]) {
        task.abort();
        // A cancelled task is as good as a finished one here.
        let _ = task.await;
    }
    let closed = service.close().await;
    info!("stopped");
    closed.map_err(|_| StartError::Start("cannot close the store: reads of the last second are lost".into()))
}

async fn open(config: &Config, clock: Clock, metrics: Arc<Metrics>) -> Result<Backend, StartError> {
    if let Some(servers) = config.redis().map_err(StartError::Config)? {
        let options = redis::Options {
            address: redis_address(servers),
            namespace: config.namespace.clone(),
            shards: config.shards.into(),
            timeout: config.timeout.0,
            connections: config.redis_connections.into(),
            replicas: config.redis_wait,
            touch: config.touch.0,
            cachetime: config.cachetime.0,
            cachemax: usize::try_from(config.cachemax).unwrap_or(usize::MAX),
            clock,
        };
        let redis = Redis::open(options, metrics).map_err(StartError::Config)?;
        return Ok(Backend::Redis(Box::new(redis)));
    }
    let (data_dir, memory, deadline) = (config.data_dir.clone(), config.cache_size << 20, config.timeout.0);
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&data_dir, memory, deadline, metrics)).await;
    let embedded = opened.map_err(|_| StartError::Start("cannot open the embedded store".into()))?;
    Ok(Backend::Embedded(embedded.map_err(StartError::Start)?))
}

/// Translates the options into the store's terms: the store knows nothing of the configuration.
pub(crate) fn redis_address(servers: config::RedisServers) -> redis::Address {
    redis::Address {
        urls: servers.urls,
        mode: match servers.mode {
            config::RedisMode::Single => redis::Deployment::Single,
            config::RedisMode::Sentinel => redis::Deployment::Sentinel(servers.master),
            config::RedisMode::Cluster => redis::Deployment::Cluster,
        },
        username: servers.username,
        password: servers.password,
        sentinel_password: servers.sentinel_password,
        master_tls: servers.master_tls,
        ca: servers.ca,
        identity: servers.identity,
    }
}

async fn probe(service: Arc<Service>) {
    if service.ready().await.is_err() {
        warn!("cannot reach the store: /readyz answers 503 until it is reachable");
    }
}

async fn wipe(service: Arc<Service>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is immediate. A restart is no reason to wipe.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        // The store has logged its failure. The next round retries.
        if let Ok(removed @ 1..) = service.wipe().await {
            info!(removed, "wiped expired sessions");
        }
    }
}
