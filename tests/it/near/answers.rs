//! The cache answers as Redis would.

use super::{HIT, enable_cache, for_every_redis, set_ip, start, warm};
use crate::support::{Answer, Server, Store, eventually, redis_server};

for_every_redis![
    cached_reads_are_counted,
    cached_answers_follow_the_clock,
    cached_no_resave_sessions_keep_their_end,
    an_expired_cache_entry_is_read_from_redis,
    auth_without_touch_counts_no_read,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_answers_without_redis() {
    let server = start(Store::Redis).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    warm(&server, &app, &token).await;
    set_ip(&server, &token, "10.0.0.1");
    let hits = server.metric(HIT).await;
    assert_eq!(app.get(&token).await.expect("alive").ip, "127.0.0.1");
    assert_eq!(server.metric(HIT).await, hits + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_option_every_read_reaches_redis() {
    let server = Server::start(Store::Redis).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    app.get(&token).await.expect("alive");
    set_ip(&server, &token, "10.0.0.1");
    assert_eq!(app.get(&token).await.expect("alive").ip, "10.0.0.1");
    assert!(!server.metrics().await.contains("near_cache"));
    let listeners: (String, u64) = redis_server::ask(&format!("PUBSUB NUMSUB {}:cache", server.config.namespace));
    assert_eq!(listeners.1, 0);
}

async fn cached_reads_are_counted(store: Store) {
    let server = start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    let mut reads = warm(&server, &app, &token).await.r;
    // The reads fall before, during and after flushes of the read buffer.
    let hits = server.metric(HIT).await;
    for _ in 0..300 {
        reads += 1;
        assert_eq!(app.get(&token).await.expect("alive").r, reads);
        tokio::time::sleep(std::time::Duration::from_millis(8)).await;
    }
    assert!(
        server.metric(HIT).await > hits + 100,
        "the cache answered too few reads"
    );
    // All of them reach Redis.
    let peer = Server::start_peer(&server).await;
    eventually("all reads are flushed", async || {
        let list = peer.app("forum").soid("ann").await;
        list[0].r == reads + 1
    })
    .await;
    let set = app.set(&token, r#"{"a":1}"#).await.expect("alive");
    assert_eq!(set.r, reads + 1);
}

async fn cached_answers_follow_the_clock(store: Store) {
    let server = start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=60", "").await;
    warm(&server, &app, &token).await;
    for seconds in [3, 0, 59, 60, 7] {
        server.advance(seconds);
        let session = app.get(&token).await.expect("alive");
        assert_eq!((session.idle, session.ttl), (seconds, 60));
    }
    // `activity` flushes the read buffer, so a peer sees the last read.
    app.activity(10).await;
    let peer = server.start_peer().await;
    assert_eq!(peer.app("forum").get(&token).await.expect("alive").idle, 0);
    server.advance(61);
    assert!(app.get(&token).await.is_none());
}

async fn cached_no_resave_sessions_keep_their_end(store: Store) {
    let server = start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=60&no_resave=1", "").await;
    warm(&server, &app, &token).await;
    for left in [50, 30, 0] {
        server.advance(app.get(&token).await.expect("alive").ttl - left);
        let session = app.get(&token).await.expect("alive");
        assert_eq!(session.ttl, left);
        app.activity(10).await;
    }
    server.advance(1);
    assert!(app.get(&token).await.is_none());
}

/// Another instance may have renewed the session.
async fn an_expired_cache_entry_is_read_from_redis(store: Store) {
    let server = start(store).await;
    let other = Server::start_peer(&server).await;
    let (app, others) = (server.app("forum"), other.app("forum"));
    let token = app.create_with("ann", "ttl=60", "").await;
    warm(&server, &app, &token).await;
    server.advance(40);
    others.get(&token).await.expect("alive");
    others.activity(10).await;
    server.advance(40);
    assert_eq!(app.get(&token).await.expect("alive").idle, 40);
}

async fn auth_without_touch_counts_no_read(store: Store) {
    let server = Server::start_with(store, enable_cache).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    let reads = warm(&server, &app, &token).await.r;
    server.advance(5);
    for _ in 0..3 {
        let auth = app
            .request(reqwest::Method::GET, "/auth?touch=0")
            .header("X-Session-Token", &token);
        assert_eq!(Answer::of(auth).await.status, 204);
    }
    let session = app.get(&token).await.expect("alive");
    assert_eq!((session.r, session.idle), (reads + 1, 5));
}
