//! Tests of the wiper: it removes every expired session and no other.

use crate::support::{Server, Store, eventually, for_every_store, redis_server, side_by_side};

for_every_store![
    the_wiper_removes_expired_sessions_and_keeps_others,
    the_wiper_keeps_a_renewed_session,
    the_wiper_removes_a_no_resave_session_at_its_end,
    an_id_keeps_its_last_activity_after_a_session_is_wiped,
    the_wiper_removes_more_sessions_than_one_batch,
];

const EXPIRED: &str = "rest_sessions_expired_total";

async fn start_wiping(store: Store) -> Server {
    Server::start_with(store, |config| config.wipe = 1).await
}

async fn the_wiper_removes_expired_sessions_and_keeps_others(store: Store) {
    let server = start_wiping(store).await;
    let [forum, shop] = [server.app("forum"), server.app("shop")];
    forum.create_with("ann", "ttl=10", r#"{"a":1}"#).await;
    forum.create_with("bob", "ttl=10", "").await;
    shop.create_with("ann", "ttl=11", "").await;
    let lives = forum.create_with("bob", "ttl=1000", r#"{"b":2}"#).await;
    server.advance(11);
    server.until_metric(EXPIRED, 2).await;
    // Both expired sessions are removed, so ann no longer counts. bob still does, by the other session.
    assert_eq!(forum.activity(60).await, 1);
    assert_eq!(forum.killsoid("ann").await, 0);
    assert_eq!(shop.soid("ann").await.len(), 1);
    server.advance(1);
    server.until_metric(EXPIRED, 3).await;
    assert_eq!(shop.activity(60).await, 0);
    assert_eq!(shop.killall().await, 0);
    assert_eq!(forum.get(&lives).await.expect("alive").d(), r#"{"b":2}"#);
    assert_eq!(forum.soid("bob").await.len(), 1);
    assert_eq!(forum.killall().await, 1);
    assert_eq!(server.metric(EXPIRED).await, 3);
}

async fn the_wiper_keeps_a_renewed_session(store: Store) {
    let server = start_wiping(store).await;
    let app = server.app("forum");
    let read = app.create_with("ann", "ttl=100", "").await;
    let written = app.create_with("bob", "ttl=100", "").await;
    server.advance(90);
    app.get(&read).await.expect("alive");
    app.set(&written, r#"{"a":1}"#).await.expect("alive");
    app.create_with("carl", "ttl=10", "").await;
    server.advance(90);
    // Once carl's session is gone, the wiper has run, long after the first end of the other two sessions.
    server.until_metric(EXPIRED, 1).await;
    assert_eq!(app.get(&read).await.expect("alive").idle, 90);
    assert_eq!(app.get(&written).await.expect("alive").idle, 90);
    assert_eq!(server.metric(EXPIRED).await, 1);
    server.advance(101);
    server.until_metric(EXPIRED, 3).await;
    assert_eq!(app.killall().await, 0);
}

async fn the_wiper_removes_a_no_resave_session_at_its_end(store: Store) {
    let server = start_wiping(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=100&no_resave=1", "").await;
    for _ in 0..4 {
        server.advance(25);
        app.get(&token).await.expect("alive");
        app.set(&token, r#"{"a":1}"#).await.expect("alive");
    }
    server.advance(1);
    server.until_metric(EXPIRED, 1).await;
    assert_eq!(app.activity(7200).await, 0);
    assert_eq!(app.killall().await, 0);
}

async fn an_id_keeps_its_last_activity_after_a_session_is_wiped(store: Store) {
    let server = start_wiping(store).await;
    let app = server.app("forum");
    app.create_with("ann", "ttl=1000", "").await;
    server.advance(100);
    app.create_with("ann", "ttl=10", "").await;
    server.advance(11);
    server.until_metric(EXPIRED, 1).await;
    // The live session was active 111 seconds ago, the id 11 seconds ago.
    assert_eq!(app.activity(11).await, 1);
    assert_eq!(app.activity(10).await, 0);
    assert_eq!(app.killsoid("ann").await, 1);
    assert_eq!(app.activity(7200).await, 0);
}

async fn create_many(server: &Server, count: usize) {
    let creations: Vec<_> = (0..count)
        .map(|n| {
            let app = server.app(["forum", "shop", "blog"][n % 3]);
            async move { app.create_with(&format!("user{}", n % 500), "ttl=10", "").await }
        })
        .collect();
    side_by_side(50, creations).await;
}

async fn the_wiper_removes_more_sessions_than_one_batch(store: Store) {
    let server = start_wiping(store).await;
    // More than any store removes in one batch.
    create_many(&server, 1200).await;
    server.advance(11);
    server.until_metric(EXPIRED, 1200).await;
    for app in ["forum", "shop", "blog"] {
        assert_eq!(server.app(app).activity(7200).await, 0);
        assert_eq!(server.app(app).killall().await, 0);
    }
    assert_eq!(server.metric(EXPIRED).await, 1200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_wipers_count_each_session_once() {
    let server = start_wiping(Store::Redis).await;
    let peer = server.start_peer().await;
    create_many(&server, 1200).await;
    server.advance(11);
    eventually("all sessions are wiped", async || {
        server.metric(EXPIRED).await + peer.metric(EXPIRED).await >= 1200
    })
    .await;
    assert_eq!(redis_server::keys(&server.config.namespace), [""; 0]);
    assert_eq!(server.metric(EXPIRED).await + peer.metric(EXPIRED).await, 1200);
}
