//! Receives invalidations from every master, and extends the lease of the near cache while all of them arrive.
//!
//! There is one subscribed connection to each master, as a session is changed and its invalidation published there.
//! Why to each: a cluster forwards messages between its nodes, but not from a node that is partitioned. Why not
//! sharded pub/sub: it needs Redis 7, and peers of other versions would miss the invalidations of this process.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError, Value, aio::MultiplexedConnection,
};
use futures_util::future::try_join_all;
use tokio::time::{sleep, timeout};

use crate::{
    session::{App, Token},
    store::{
        Key,
        redis::{
            error::reason,
            near_cache::{cache::NearCache, lease::LEASE, masters::Masters},
            pool::manager::{be_master, role},
        },
    },
};

/// Between two heartbeats. Several fit into a lease, so that a late one costs nothing.
const INTERVAL: Duration = Duration::from_millis(250);

/// The task that receives invalidations.
pub(crate) struct Listener {
    cache: Arc<NearCache>,
    channel: String,
    masters: Masters,
    /// How long it may take to connect.
    timeout: Duration,
}

/// A subscribed connection, of the client library, which delivers push messages.
struct Subscription {
    connection: MultiplexedConnection,
    ended: Arc<AtomicBool>,
}

impl Listener {
    pub(crate) fn new(cache: Arc<NearCache>, channel: &str, masters: Masters, timeout: Duration) -> Self {
        Self {
            cache,
            channel: channel.to_owned(),
            masters,
            timeout: timeout.max(LEASE),
        }
    }

    /// Receives invalidations for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut bypassed = None;
        let mut subscriptions = HashMap::new();
        loop {
            let beat = self.beat(&mut subscriptions).await;
            if beat.is_err() {
                self.cache.lose();
                self.masters.request_refresh();
            }
            log_change(&mut bypassed, beat.err());
            sleep(INTERVAL).await;
        }
    }

    /// Subscribes to all masters, sends each a heartbeat and extends the lease.
    async fn beat(&self, subscriptions: &mut HashMap<String, Subscription>) -> Result<(), String> {
        let masters = self.masters.all().await?;
        let before = subscriptions.len();
        subscriptions.retain(|address, subscription| {
            masters.contains_key(address) && !subscription.ended.load(Ordering::Acquire)
        });
        if subscriptions.len() < before.max(masters.len()) {
            self.cache.lose();
        }
        for address in masters.keys() {
            if !subscriptions.contains_key(address) {
                subscriptions.insert(address.clone(), self.subscribe(address).await?);
            }
        }
        let (sent, term) = (Instant::now(), self.cache.lease.term());
        let beats = masters.iter().map(async |(address, heartbeat)| {
            let Some(subscription) = subscriptions.get(address) else {
                return Err((address, "no connection".to_owned()));
            };
            match timeout(LEASE, heartbeat.send(subscription.connection.clone())).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err((address, reason(&error))),
                Err(_) => Err((address, "no heartbeat in time".to_owned())),
            }
        });
        if let Err((address, why)) = try_join_all(beats).await {
            subscriptions.remove(address);
            return Err(why);
        }
        self.cache.lease.renew(sent, term);
        Ok(())
    }

    /// Subscribes to one master.
    async fn subscribe(&self, address: &str) -> Result<Subscription, String> {
        let (cache, ended) = (self.cache.clone(), Arc::new(AtomicBool::new(false)));
        let end = ended.clone();
        // Invariant: the reader of the connection calls this in order, so invalidations from before a reply are
        // applied before it.
        let on_push = move |push: PushInfo| {
            match push.kind {
                PushKind::Message => {
                    if let Some(key) = session(&push.data) {
                        cache.forget(&key);
                    }
                }
                PushKind::Disconnection => {
                    end.store(true, Ordering::Release);
                    cache.lose();
                }
                _ => {}
            }
            Ok::<_, Infallible>(())
        };
        let manager = self.masters.manager(address);
        let open = async {
            let (info, named) = manager.find().await?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(manager.timeout))
                .set_response_timeout(None)
                .set_push_sender(on_push);
            let client = Client::open(info)?;
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            if named.is_some() {
                be_master(&connection.send_packed_command(&role()).await?)?;
            }
            connection.subscribe(&self.channel).await?;
            Ok(Subscription { connection, ended })
        };
        match timeout(self.timeout, open).await {
            Ok(opened) => opened.map_err(|error: RedisError| reason(&error)),
            Err(_) => Err("no connection in time".to_owned()),
        }
    }
}

/// Logs when the cache is bypassed and when it is used again. `before`: why it was bypassed.
fn log_change(before: &mut Option<String>, why: Option<String>) {
    match (&before, &why) {
        (None, Some(why)) => tracing::warn!("the near cache is bypassed, as invalidations may be missed: {why}"),
        (Some(_), None) => tracing::info!("the near cache is used again"),
        _ => {}
    }
    *before = why;
}

/// The session of an invalidation; `None` for sessions of peers that this process cannot have cached.
fn session(message: &[Value]) -> Option<Key> {
    let [_channel, Value::BulkString(text)] = message else {
        return None;
    };
    let (app, token) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(Key {
        app: App::parse(app).ok()?,
        token: Token::parse(token).ok()?,
    })
}
