//! Sessions in Redis, in the layout that redis-sessions peers share ("classic", see `keys`), or on a cluster in many shards
//! of the same form.
//!
//! Every operation on a session or an id is one atomic script or command, and one round trip; on an id with more than 100
//! sessions, several. A get is one plain read; what it changes follows a little later (`pending`, `touch`), or in one script
//! with it where that is switched off. With a near cache (`near`) many gets need no read. All instances go by the clock of
//! Redis ([`Time`]), of which they have a copy: times are arguments of scripts and commands.

mod blocking;
mod check;
mod cluster;
mod endpoint;
mod failure;
mod keys;
mod link;
mod listing;
mod lists;
mod near;
mod of_id;
mod pending;
mod pool;
mod removals;
mod replicated;
mod reply;
mod script;
mod sentinel;
mod servers;
mod sessions;
mod shards;
mod slots;
#[cfg(test)]
mod tests;
mod time;
mod touch;
mod voice;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use tokio::task::AbortHandle;

pub(crate) use self::check::check;
use self::{
    cluster::Cluster,
    link::Manager,
    near::{Listener, Near, Source},
    pool::{Limits, Pool},
    script::Scripts,
    servers::{Server, Servers},
    time::Time,
    touch::Touches,
    voice::Voice,
};
pub use self::{
    endpoint::{Address, Mode},
    listing::Listing,
};
// Used by the check only.
use self::{
    blocking::Blocking,
    endpoint::Endpoints,
    failure::{elsewhere, reason},
    keys::Keys,
    sentinel::Sentinels,
    shards::{MOST, Shards},
    slots::{owners, ranges},
};
use crate::{
    clock::Clock,
    observability::metrics::Metrics,
    session::{Record, Seconds, Token},
    store::Error,
    store::{list_window::WindowBudget, throttle::Throttle},
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

/// A Redis server or a cluster of them, or servers that speak its protocol.
pub struct Redis {
    servers: Arc<Servers>,
    shards: Arc<Shards>,
    scripts: Arc<Scripts>,
    touches: Arc<Touches>,
    time: Arc<Time>,
    near: Option<Arc<Near>>,
    tasks: Vec<AbortHandle>,
    turns: Throttle,
    /// Shared by the windows of all lists.
    budget: WindowBudget,
    metrics: Arc<Metrics>,
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
        let limits = Limits {
            timeout,
            connections: options.connections,
            replicas: options.replicas,
        };
        let near =
            (!options.cachetime.is_zero()).then(|| Arc::new(Near::new(options.cachetime, options.cachemax, &metrics)));
        let mut tasks = Vec::new();
        let one = |manager: &Manager| Server::start(Pool::new(manager.clone(), Voice::of(String::new()), limits));
        let shards = Arc::new(match endpoints.mode {
            Mode::Single | Mode::Sentinel(_) => Shards::one(&options.namespace),
            Mode::Cluster => Shards::many(&options.namespace, options.shards),
        });
        let (servers, source) = match endpoints.mode.clone() {
            Mode::Single => {
                let manager = Manager::fixed(endpoints.first[0].clone(), endpoints.tls.clone(), timeout);
                (Servers::One(one(&manager)), Source::One(manager))
            }
            Mode::Sentinel(name) => {
                let sentinels = Arc::new(Sentinels::new(endpoints, name, timeout));
                let manager = Manager::by_sentinels(sentinels.clone(), timeout);
                let server = one(&manager);
                let watch = follow(sentinels.clone(), server.pool.clone(), near.clone());
                tasks.push(tokio::spawn(watch).abort_handle());
                (Servers::One(server), Source::Sentinels(manager, sentinels))
            }
            Mode::Cluster => {
                let cluster = Cluster::new(endpoints, limits);
                tasks.push(tokio::spawn(cluster.clone().compare(shards.clone())).abort_handle());
                (
                    Servers::Cluster(cluster.clone()),
                    Source::Cluster(cluster, shards.clone()),
                )
            }
        };
        if let Some(near) = &near {
            let listener = Listener::new(near.clone(), shards.all()[0].channel(), source, timeout);
            tasks.push(tokio::spawn(listener.run()).abort_handle());
        }
        let servers = Arc::new(servers);
        let touches = Touches::new(
            options.touch,
            near.clone(),
            servers.clone(),
            shards.clone(),
            metrics.clone(),
        );
        let touches = Arc::new(touches);
        if !options.touch.is_zero() {
            tasks.push(tokio::spawn(touches.clone().run()).abort_handle());
        }
        let time = Arc::new(Time::new(options.clock, &metrics));
        let follow = {
            let (time, servers) = (time.clone(), servers.clone());
            async move { time.follow(&servers).await }
        };
        tasks.push(tokio::spawn(follow).abort_handle());
        Ok(Self {
            servers,
            shards,
            scripts: Arc::new(Scripts::new()),
            touches,
            time,
            near,
            tasks,
            turns: Throttle::new(options.timeout),
            budget: WindowBudget::new(),
            metrics,
        })
    }

    /// The shard of a session; `None` if there cannot be one with this token.
    async fn shard(&self, token: &Token) -> Result<Option<&Keys>, Error> {
        let keys = self.shards.of(token);
        if keys.is_none() {
            self.servers.know_all_shards().await?;
        }
        Ok(keys)
    }

    /// The clock that all instances on this Redis share.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.time.clock()
    }

    /// The current second for an operation, for which `now` was taken from [`Redis::clock`].
    async fn settled(&self, now: Seconds) -> Result<Seconds, Error> {
        self.time.settled(&self.servers, now).await
    }

    /// Waits until notes are written. The client may have gone before: the work is not cut short by it.
    async fn written<F>(&self, flush: impl FnOnce(Arc<Touches>) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let flush = tokio::spawn(flush(self.touches.clone()));
        flush.await.unwrap_or(Err(Error::Internal))
    }

    /// See [`Store::ping`](super::Store::ping).
    pub async fn ping(&self) -> Result<(), Error> {
        self.servers.ping().await
    }

    /// Writes what is noted and lets go of the connections. Operations under way finish; later ones fail.
    pub async fn close(&self) -> Result<(), Error> {
        let written = self.written(async move |touches| touches.flush(|_| true).await).await;
        self.servers.close();
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

/// Leaves a master that the sentinels have replaced, for ever. They may not answer: then it is as good as any.
async fn follow(sentinels: Arc<Sentinels>, pool: Arc<Pool>, near: Option<Arc<Near>>) {
    loop {
        tokio::time::sleep(sentinel::WATCH).await;
        if let Ok(address) = sentinels.address().await
            && pool.leave_all_but(&address)
            && let Some(near) = &near
        {
            // Until the new one is listened to.
            near.lose();
        }
    }
}

/// The record, unless it has expired.
fn live(record: Option<Record>, now: Seconds) -> Option<Record> {
    record.filter(|record| !record.expired(now))
}
