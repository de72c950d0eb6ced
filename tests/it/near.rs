//! The near cache: what is answered from memory is what Redis would have answered, and what has ended is not answered.

mod answers;
mod away;
mod bounds;
mod drops;

use std::time::Duration;

use rest_sessions::config::{Config, DurationArg};

use crate::support::{App, Server, Session, Store, eventually, redis_server};

const HIT: &str = r#"rest_sessions_near_cache_total{result="hit"}"#;
const MISS: &str = r#"rest_sessions_near_cache_total{result="miss"}"#;
const BYPASSED: &str = r#"rest_sessions_near_cache_total{result="bypassed"}"#;

/// Stamps each named function, an `async fn(Store)`, as a test of one Redis and of a cluster.
macro_rules! for_every_redis {
    ($($test:ident),+ $(,)?) => {
        $crate::support::for_one_store!(redis, Redis, $($test),+);
        $crate::support::for_one_store!(cluster, Cluster, $($test),+);
    };
}

use for_every_redis;

/// Nothing is too old for it in a test.
fn for_an_hour(config: &mut Config) {
    config.cachetime = DurationArg(Duration::from_hours(1));
}

async fn start(store: Store) -> Server {
    Server::start_with(store, for_an_hour).await
}

/// Gets until an answer comes from memory: the first ones may be too early, or too late for a busy machine.
async fn warm(server: &Server, app: &App, token: &str) -> Session {
    let mut last = None;
    eventually("an answer from memory", async || {
        let before = server.metric(HIT).await;
        last = app.get(token).await;
        server.metric(HIT).await > before
    })
    .await;
    last.expect("alive")
}

/// Waits until it is gone, and sees that it stays so.
async fn gone(app: &App, token: &str) {
    eventually("it is gone", async || app.get(token).await.is_none()).await;
    for _ in 0..50 {
        assert!(app.get(token).await.is_none(), "it is back");
    }
}

/// Changes the ip of a session behind everybody's back.
fn set_ip(server: &Server, token: &str, ip: &str) {
    let _: u64 = redis_server::ask(&format!("HSET {}:forum:{token} ip {ip}", server.config.namespace));
}
