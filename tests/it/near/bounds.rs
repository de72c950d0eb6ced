//! How many, and for how long.

use std::time::Duration;

use rest_sessions::config::DurationArg;

use super::{HIT, MISS, for_an_hour, set_ip, warm};
use crate::support::{Server, Store, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_so_many_are_kept() {
    let server = Server::start_with(Store::Redis, |config| {
        for_an_hour(config);
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
async fn none_is_kept_for_longer() {
    let server = Server::start_with(Store::Redis, |config| {
        config.cachetime = DurationArg(Duration::from_secs(2))
    })
    .await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    for ip in ["10.0.0.1", "10.0.0.2"] {
        warm(&server, &app, &token).await;
        set_ip(&server, &token, ip);
        // However often it is read and written meanwhile.
        eventually("it is read anew", async || {
            app.activity(10).await;
            app.get(&token).await.expect("alive").ip == ip
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_takes_no_notice() {
    let server = Server::start_with(Store::Embedded, for_an_hour).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    assert_eq!(app.get(&token).await.expect("alive").r, 1);
    assert_eq!(app.get(&token).await.expect("alive").r, 2);
    assert!(!server.metrics().await.contains("near_cache"));
}
