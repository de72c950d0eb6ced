//! rest-sessions: shared sessions for any backend in any language, over plain HTTP.
//!
//! A request takes one straight way, and one word names every step of it (`create`, `get`, `auth`, `set`, `activity`,
//! `soapp`, `soid`, `kill`, `killsoid`, `killall`): route and handler in [`routes`], rules and clock in [`service`], one operation
//! of the [`store`], an answer. Search for the word and see the whole slice.
//!
//! Around it: [`config`] is what the operator says, [`listen`] where it listens, [`server`] accepts connections, [`layers`] is what every request
//! passes, [`session`] has the domain types, [`error`] every failure, [`metrics`] and [`telemetry`] what can be watched. [`check`]
//! is no server: it looks whether what a store holds agrees.

mod auth;
mod background;
pub mod check;
pub mod config;
mod drain;
mod early_refusal;
pub mod error;
mod extract;
mod files;
mod framing;
pub mod layers;
pub mod listen;
mod listing;
mod meters;
pub mod metrics;
mod parts;
mod peer;
#[cfg(test)]
mod properties;
pub mod routes;
pub mod server;
pub mod service;
pub mod session;
pub mod shown;
pub mod shutdown;
mod steady;
pub mod store;
pub mod telemetry;
mod timer;
mod write_timeout;

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    config::Config,
    listen::Listeners,
    metrics::Metrics,
    routes::AppState,
    server::Limits,
    service::{Clock, Service},
    store::{Backend, Store, embedded::Embedded, redis},
};

/// Why a server did not start, in one line for the operator.
#[derive(Debug)]
pub enum Failure {
    /// The configuration cannot be right.
    Config(String),
    /// It can, but not here and now.
    Start(String),
}

/// Opens the store, serves on `listeners` until `shutdown` resolves, drains, and closes the store.
pub async fn run(
    config: &Config,
    clock: Clock,
    listeners: impl Into<Listeners>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    run_until(config, clock, listeners, shutdown, || ()).await
}

/// The same; `drained` is called once no request is under way any more, or those that are have had their time.
pub async fn run_until(
    config: &Config,
    clock: Clock,
    listeners: impl Into<Listeners>,
    shutdown: impl Future<Output = ()>,
    drained: impl FnOnce(),
) -> Result<(), Failure> {
    let metrics = Arc::new(Metrics::new());
    let backend = open(config, clock.clone(), metrics.clone()).await?;
    // All instances on one Redis go by its clock.
    let clock = match &backend {
        Backend::Redis(redis) => redis.clock(),
        Backend::Embedded(_) => clock,
    };
    let store = Store::new(backend, config.timeout.0, metrics.clone());
    let service = Arc::new(Service::new(store, clock, metrics.clone()));
    let state = AppState::new(service.clone(), metrics, config.timeout.0, &config.cookie);
    let listeners = listeners.into();
    listeners.announce();
    // Not waited for: a store that does not answer must not keep connections waiting.
    let look = {
        let service = service.clone();
        background::spawn("first look at the store", move || look(service.clone()))
    };
    let wiper = (config.wipe > 0).then(|| {
        let (service, every) = (service.clone(), Duration::from_secs(config.wipe));
        background::spawn("wiper", move || wipe(service.clone(), every))
    });
    let limits = Limits {
        idle: config.idle_timeout.0,
        connections: config.max_connections,
        drain_delay: config.drain_delay.0,
        drain_timeout: config.drain_timeout.0,
    };
    let stack = layers::wrap(&routes::table(), &state);
    server::serve(listeners, stack, &state, limits, shutdown).await;
    drained();
    for task in wiper.into_iter().chain([look]) {
        task.abort();
        // Cut off is as good as done here.
        let _ = task.await;
    }
    let closed = service.close().await;
    info!("ended");
    closed.map_err(|_| Failure::Start("the store could not be closed: reads that were not written yet are lost".into()))
}

async fn open(config: &Config, clock: Clock, metrics: Arc<Metrics>) -> Result<Backend, Failure> {
    if let Some(address) = config.redis().map_err(Failure::Config)? {
        let options = redis::Options {
            address,
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
        let redis = redis::Redis::open(options, metrics).map_err(Failure::Config)?;
        return Ok(Backend::Redis(Box::new(redis)));
    }
    let (folder, memory, deadline) = (config.data_dir.clone(), config.cache_size << 20, config.timeout.0);
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&folder, memory, deadline, metrics)).await;
    let embedded = opened.map_err(|_| Failure::Start("the embedded store cannot be opened".into()))?;
    Ok(Backend::Embedded(embedded.map_err(Failure::Start)?))
}

async fn look(service: Arc<Service>) {
    if service.ready().await.is_err() {
        warn!("the store is away: /readyz answers 503 until it is back");
    }
}

async fn wipe(service: Arc<Service>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is at once; a restart is no reason to look.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        // The store has logged why it failed; the next round tries again.
        if let Ok(removed @ 1..) = service.wipe().await {
            info!(removed, "wiped expired sessions");
        }
    }
}
