//! Tests of buffered reads on Redis. The server buffers what a get changes (`r` and `la`) and writes it to Redis at
//! most `--touch` seconds later. Its own answers include the buffered reads; other servers see them after the flush.

use std::time::Duration;

use rest_sessions::config::{Config, DurationArg};

use crate::support::{START, Server, Store, eventually, redis_server, side_by_side};

/// Longer than any test runs, so that no flush happens because of the time.
const NEVER: Duration = Duration::from_mins(1);

async fn start(touch: Duration, change: impl FnOnce(&mut Config)) -> Server {
    Server::start_with(Store::Redis, |config| {
        config.touch = DurationArg(touch);
        change(config);
    })
    .await
}

/// A field of a session's hash.
fn field(server: &Server, token: &str, name: &str) -> u64 {
    redis_server::ask(&format!("HGET {}:forum:{token} {name}", server.config.namespace))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_answers_with_its_buffered_reads() {
    let server = start(NEVER, |_| {}).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=1000", "").await;
    server.advance(100);
    for reads in 1..=5 {
        let session = app.get(&token).await.expect("alive");
        assert_eq!((session.r, session.idle), (reads, if reads == 1 { 100 } else { 0 }));
    }
    // Redis does not have the reads yet, but the answers of all routes include them.
    assert_eq!(field(&server, &token, "r"), 1);
    server.advance(7);
    let session = app.soid("ann").await.remove(0);
    assert_eq!((session.r, session.w, session.idle), (6, 1, 7));
    let session = app.set(&token, r#"{"a":1}"#).await.expect("alive");
    assert_eq!((session.r, session.w, session.idle), (6, 2, 7));
    assert_eq!(app.get(&token).await.expect("alive").r, 6);
    assert_eq!(app.soid("ann").await[0].r, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_an_app_include_buffered_reads() {
    let server = start(NEVER, |_| {}).await;
    let app = server.app("forum");
    let (first, second) = (app.create("ann").await, app.create("ben").await);
    server.advance(100);
    assert_eq!(app.activity(50).await, 0);
    app.get(&first).await.expect("alive");
    assert_eq!(app.activity(50).await, 1);
    app.get(&second).await.expect("alive");
    let ids: Vec<_> = app.soapp(50).await.into_iter().map(|session| session.id).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    server.advance(1);
    app.get(&first).await.expect("alive");
    let sessions = app.soapp(50).await;
    let listed: Vec<_> = sessions.iter().map(|session| (&*session.id, session.r)).collect();
    assert_eq!(listed, [("ann", 3), ("ben", 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_sees_reads_after_the_flush() {
    let server = start(Duration::from_millis(200), |_| {}).await;
    let peer = server.start_peer().await;
    let token = server.app("forum").create_with("ann", "ttl=1000", "").await;
    server.advance(30);
    for _ in 0..3 {
        server.app("forum").get(&token).await.expect("alive");
    }
    eventually("the peer sees the reads", async || {
        let session = peer.app("forum").soid("ann").await.remove(0);
        // A flush may happen between two of the gets.
        assert_eq!(
            session.r > 1,
            session.idle == 0,
            "r and la must be written together: {session:?}"
        );
        session.r == 4 && session.idle == 0
    })
    .await;
    assert_eq!(field(&server, &token, "la"), START + 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_get_counts_once_during_flushes() {
    let server = start(Duration::from_millis(1), |_| {}).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    let requests = (0..2_000).map(|n| {
        let (app, token) = (app.clone(), token.clone());
        async move {
            match n % 10 {
                0 => app.set(&token, format!(r#"{{"k":{n}}}"#)).await.map(|_| 0),
                1 => Some(app.soid("ann").await.len() as u64 - 1),
                _ => app.get(&token).await.map(|session| session.r),
            }
            .expect("alive")
        }
    });
    let mut reads: Vec<_> = side_by_side(100, requests).await;
    reads.retain(|r| *r > 0);
    reads.sort_unstable();
    assert_eq!(reads, (1..=1_600).collect::<Vec<_>>());
    assert_eq!(app.get(&token).await.expect("alive").r, 1_601);
    let namespace = &server.config.namespace;
    eventually("the reads are flushed", async || {
        redis_server::ask::<u64>(&format!("HGET {namespace}:forum:{token} r")) == 1_602
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_discards_buffered_reads() {
    let server = start(NEVER, |_| {}).await;
    let app = server.app("forum");
    for round in 0..4 {
        let (first, second) = (app.create("ann").await, app.create("ann").await);
        server.advance(10);
        app.get(&first).await.expect("alive");
        app.get(&second).await.expect("alive");
        match round {
            0 => assert_eq!((app.kill(&first).await, app.kill(&second).await), (1, 1)),
            1 => assert_eq!(app.killsoid("ann").await, 2),
            2 => assert_eq!(app.killall().await, 2),
            _ => {
                let peer = server.start_peer().await;
                assert_eq!(peer.app("forum").killall().await, 2);
            }
        }
        // The list flushes all reads that are still buffered.
        assert!(app.soapp(100).await.is_empty());
        assert_eq!(redis_server::keys(&server.config.namespace), [""; 0], "round {round}");
    }
}

/// The activity of an id outlives the session that caused it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_keeps_the_buffered_activity_of_its_id() {
    let server = start(NEVER, |_| {}).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    app.create("ann").await;
    server.advance(100);
    app.get(&token).await.expect("alive");
    assert_eq!(app.kill(&token).await, 1);
    assert_eq!(app.activity(50).await, 1);
}

/// Even when the session's end in Redis passes before the flush.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_buffered_reads_does_not_expire() {
    let server = start(NEVER, |_| {}).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=1000", "").await;
    server.advance(600);
    app.get(&token).await.expect("alive");
    server.advance(600);
    // In Redis it ended 200 seconds ago.
    assert_eq!(app.soid("ann").await.len(), 1);
    let session = app.set(&token, r#"{"a":1}"#).await.expect("alive");
    assert_eq!((session.idle, session.w, session.d()), (600, 2, r#"{"a":1}"#));
    server.advance(600);
    app.get(&token).await.expect("alive");
    server.advance(600);
    assert_eq!(app.kill(&token).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wiper_flushes_buffered_reads_first() {
    let server = start(NEVER, |config| config.wipe = 1).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=1000", "").await;
    app.create_with("ben", "ttl=1000", "").await;
    server.advance(600);
    app.get(&token).await.expect("alive");
    server.advance(600);
    server.until_metric("rest_sessions_expired_total", 1).await;
    assert!(app.get(&token).await.is_some());
}

/// Other servers may look at any time, so a session that would soon expire in Redis is renewed there at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_near_the_end_renews_the_session_in_redis_at_once() {
    let server = start(Duration::from_secs(1), |_| {}).await;
    let peer = server.start_peer().await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    for reads in 1..10 {
        server.advance(6);
        let session = app.get(&token).await.expect("alive");
        assert_eq!((session.r, session.idle), (reads, 6));
        let seen = peer.app("forum").soid("ann").await.remove(0);
        assert_eq!((seen.r, seen.idle), (reads + 1, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buffered_reads_do_not_move_the_end_of_a_no_resave_session() {
    let server = start(NEVER, |_| {}).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=100&no_resave=1", "").await;
    for (ttl, idle) in [(90, 10), (80, 10), (70, 10)] {
        server.advance(10);
        let session = app.get(&token).await.expect("alive");
        assert_eq!((session.ttl, session.idle), (ttl, idle));
    }
    let session = app.set(&token, r#"{"a":1}"#).await.expect("alive");
    assert_eq!((session.ttl, session.idle, session.r), (70, 0, 4));
    // The list flushes the reads. A Node peer computes the end from these two fields.
    app.soapp(100).await;
    let ends = field(&server, &token, "la") + field(&server, &token, "ttl");
    assert_eq!(ends, START + 100);
    server.advance(70);
    assert_eq!(app.get(&token).await.expect("alive").ttl, 0);
    server.advance(1);
    assert!(app.get(&token).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_flushes_buffered_reads() {
    let server = start(NEVER, |_| {}).await;
    let app = server.app("forum");
    let mut tokens = Vec::new();
    for n in 0..200 {
        tokens.push(app.create(&format!("user{n}")).await);
    }
    for token in &tokens {
        app.get(token).await.expect("alive");
    }
    let server = server.restart().await;
    for token in &tokens {
        assert_eq!(server.app("forum").get(token).await.expect("alive").r, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn touch_0_writes_each_read_at_once() {
    let server = start(Duration::ZERO, |_| {}).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    server.advance(10);
    for reads in 1..5 {
        assert_eq!(app.get(&token).await.expect("alive").r, reads);
        assert_eq!(field(&server, &token, "r"), reads + 1);
    }
    assert_eq!(field(&server, &token, "la"), START + 10);
}

/// A damaged index of one app must not keep the reads of other apps from being written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_does_not_block_flushes_of_other_apps() {
    let server = start(Duration::from_millis(50), |_| {}).await;
    let namespace = server.config.namespace.clone();
    let (forum, shop) = (server.app("forum"), server.app("shop"));
    let (bad, good) = (shop.create("ann").await, forum.create("ann").await);
    redis_server::ask::<String>(&format!("SET {namespace}:shop:_sessions x"));
    server.advance(10);
    shop.get(&bad).await.expect("alive");
    forum.get(&good).await.expect("alive");
    let read = |app: &str, token: &str| redis_server::ask::<u64>(&format!("HGET {namespace}:{app}:{token} r"));
    eventually("both reads are flushed", async || {
        read("shop", &bad) == 2 && read("forum", &good) == 2
    })
    .await;
    server
        .until_metric(r#"rest_sessions_store_errors_total{operation="touch"}"#, 1)
        .await;
}
