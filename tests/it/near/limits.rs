//! Limits of the cache: number and age of its entries.

use std::time::Duration;

use rest_sessions::config::DurationArg;

use super::{HIT, MISS, enable_cache, set_ip, warm};
use crate::support::{Server, Store, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_keeps_at_most_cachemax_sessions() {
    let server = Server::start_with(Store::Redis, |config| {
        enable_cache(config);
        config.cachemax = 10;
    })
    .await;
    let app = server.app("forum");
    let mut tokens = Vec::new();
    for n in 0..100 {
        tokens.push(app.create(&format!("user-{n}")).await);
    }
    warm(&server, &app, &tokens[0]).await;
    for _ in 0..2 {
        let before = (server.metric(HIT).await, server.metric(MISS).await);
        for token in &tokens {
            app.get(token).await.expect("alive");
        }
        let after = (server.metric(HIT).await, server.metric(MISS).await);
        assert!(after.0 - before.0 <= 10, "{before:?} {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_keeps_no_session_longer_than_cachetime() {
    let server = Server::start_with(Store::Redis, |config| {
        config.cachetime = DurationArg(Duration::from_secs(2));
    })
    .await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    for ip in ["10.0.0.1", "10.0.0.2"] {
        warm(&server, &app, &token).await;
        set_ip(&server, &token, ip);
        // Reads and flushes meanwhile do not prolong the entry's life.
        eventually("the session is read from Redis", async || {
            app.activity(10).await;
            app.get(&token).await.expect("alive").ip == ip
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_ignores_cachetime() {
    let server = Server::start_with(Store::Embedded, enable_cache).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    assert_eq!(app.get(&token).await.expect("alive").r, 1);
    assert_eq!(app.get(&token).await.expect("alive").r, 2);
    assert!(!server.metrics().await.contains("near_cache"));
}
