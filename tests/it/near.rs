//! The near cache: cached answers equal those of Redis, and an ended session is never answered.

mod answers;
mod invalidation;
mod limits;
mod lost_subscription;

use std::time::Duration;

use rest_sessions::config::{Config, DurationArg};

use crate::support::{App, Server, Session, Store, eventually, redis_server};

const HIT: &str = r#"rest_sessions_near_cache_total{result="hit"}"#;
const MISS: &str = r#"rest_sessions_near_cache_total{result="miss"}"#;
const BYPASSED: &str = r#"rest_sessions_near_cache_total{result="bypassed"}"#;

/// Makes each named `async fn(Store)` a test of a single Redis and of a cluster.
macro_rules! for_every_redis {
    ($($test:ident),+ $(,)?) => {
        $crate::support::for_one_store!(redis, Redis, $($test),+);
        $crate::support::for_one_store!(cluster, Cluster, $($test),+);
    };
}

use for_every_redis;

/// Enables the near cache for so long that no entry becomes too old during a test.
fn enable_cache(config: &mut Config) {
    config.cachetime = DurationArg(Duration::from_hours(1));
}

async fn start(store: Store) -> Server {
    Server::start_with(store, enable_cache).await
}

/// Reads the session until the cache answers. The first reads may come before the subscription serves a lease.
async fn warm(server: &Server, app: &App, token: &str) -> Session {
    let mut last = None;
    eventually("the cache answers", async || {
        let before = server.metric(HIT).await;
        last = app.get(token).await;
        server.metric(HIT).await > before
    })
    .await;
    last.expect("alive")
}

/// Waits until the session is gone, and asserts that it stays gone.
async fn assert_gone(app: &App, token: &str) {
    eventually("the session is gone", async || app.get(token).await.is_none()).await;
    for _ in 0..50 {
        assert!(app.get(token).await.is_none(), "the session came back");
    }
}

/// Changes the ip of a session in Redis without an invalidation message.
fn set_ip(server: &Server, token: &str, ip: &str) {
    let _: u64 = redis_server::ask(&format!("HSET {}:forum:{token} ip {ip}", server.config.namespace));
}
