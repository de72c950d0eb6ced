//! Tests of kill, killsoid and killall: what they remove, what they count, and what they leave alone.

use tokio::io::AsyncWriteExt;

use crate::support::{App, NO_TOKEN, Server, Store, eventually, for_every_store, raw, side_by_side};

for_every_store![
    kill_removes_one_session,
    killsoid_removes_the_sessions_of_one_id,
    killall_removes_the_sessions_of_one_app,
    killall_removes_more_sessions_than_one_batch,
    killall_finishes_after_its_client_has_disconnected,
    killsoid_and_killall_count_expired_sessions_that_they_remove,
    apps_do_not_see_each_others_sessions,
    an_app_name_may_equal_a_word_of_the_redis_layout,
];

async fn kill_removes_one_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let [killed, kept] = [app.create("ann").await, app.create("ann").await];
    assert_eq!(app.kill(&killed).await, 1);
    assert_eq!(app.kill(&killed).await, 0);
    assert_eq!(app.kill(NO_TOKEN).await, 0);
    assert!(app.get(&killed).await.is_none());
    assert!(app.get(&kept).await.is_some());
    assert_eq!(app.soid("ann").await.len(), 1);
    assert_eq!(app.soapp(60).await.len(), 1);
}

async fn killsoid_removes_the_sessions_of_one_id(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(app.create("ann").await);
    }
    let bob = app.create("bob").await;
    assert_eq!(app.kill(&tokens.remove(0)).await, 1);
    assert_eq!(app.killsoid("ann").await, 2);
    assert_eq!(app.killsoid("ann").await, 0);
    for token in &tokens {
        assert!(app.get(token).await.is_none());
        assert!(app.set(token, r#"{"a":1}"#).await.is_none());
    }
    assert!(app.soid("ann").await.is_empty());
    assert!(app.get(&bob).await.is_some());
    assert_eq!((app.soapp(60).await.len(), app.activity(60).await), (1, 1));
}

async fn killall_removes_the_sessions_of_one_app(store: Store) {
    let server = Server::start(store).await;
    let [app, other] = [server.app("forum"), server.app("forum-2")];
    let mut tokens = Vec::new();
    for id in ["ann", "ann", "bob"] {
        tokens.push(app.create(id).await);
    }
    let kept = other.create("ann").await;
    assert_eq!(app.killall().await, 3);
    assert_eq!(app.killall().await, 0);
    for token in &tokens {
        assert!(app.get(token).await.is_none());
    }
    assert!(app.soid("ann").await.is_empty());
    assert_eq!((app.soapp(60).await.len(), app.activity(60).await), (0, 0));
    assert!(other.get(&kept).await.is_some());
    assert_eq!((other.soid("ann").await.len(), other.activity(60).await), (1, 1));
}

async fn killall_removes_more_sessions_than_one_batch(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    create_1100_of_400_ids(&app).await;
    assert_eq!(app.activity(60).await, 400);
    assert_eq!(app.killall().await, 1100);
    assert_eq!((app.soapp(60).await.len(), app.activity(60).await), (0, 0));
}

/// Creates 1,100 sessions of 400 ids: more than any store removes in one batch.
async fn create_1100_of_400_ids(app: &App) {
    let creations: Vec<_> = (0..1100)
        .map(|n| {
            let app = app.clone();
            async move { app.create(&format!("user{}", n % 400)).await }
        })
        .collect();
    side_by_side(50, creations).await;
}

async fn killall_finishes_after_its_client_has_disconnected(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    create_1100_of_400_ids(&app).await;
    let mut client = raw::connect(server.address).await;
    let request = b"DELETE /forum/killall HTTP/1.1\r\nHost: test\r\n\r\n";
    client.write_all(request).await.expect("the server reads");
    // The client disconnects in the middle of the removal.
    eventually("the first sessions are removed", async || {
        app.soapp(60).await.len() < 1100
    })
    .await;
    drop(client);
    eventually("all sessions are removed", async || app.soapp(60).await.is_empty()).await;
}

async fn killsoid_and_killall_count_expired_sessions_that_they_remove(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for (id, ttl) in [("ann", 10), ("ann", 1000), ("bob", 10), ("bob", 1000)] {
        app.create_with(id, &format!("ttl={ttl}"), "").await;
    }
    server.advance(11);
    assert_eq!(app.killsoid("ann").await, 2);
    assert_eq!(app.killall().await, 2);
    assert_eq!(app.activity(60).await, 0);
}

async fn apps_do_not_see_each_others_sessions(store: Store) {
    let server = Server::start(store).await;
    // One name begins with the other.
    let [one, other] = [server.app("shop"), server.app("shop_2")];
    let token = one.create_with("ann", "", r#"{"a":1}"#).await;
    assert!(other.get(&token).await.is_none());
    assert!(other.set(&token, r#"{"a":2}"#).await.is_none());
    assert_eq!(other.kill(&token).await, 0);
    assert_eq!(other.killsoid("ann").await, 0);
    assert_eq!(other.killall().await, 0);
    assert!(other.soid("ann").await.is_empty());
    assert!(other.soapp(60).await.is_empty());
    assert_eq!(other.activity(60).await, 0);
    let session = one.get(&token).await.expect("alive");
    assert_eq!((session.r, session.w, session.d()), (1, 1, r#"{"a":1}"#));
    other.create("ann").await;
    assert_eq!(one.killall().await, 1);
    assert_eq!(other.soid("ann").await.len(), 1);
}

async fn an_app_name_may_equal_a_word_of_the_redis_layout(store: Store) {
    let server = Server::start(store).await;
    let names = [
        "SESSIONS",
        "_sessions",
        "_users",
        "us_",
        "cache",
        "---",
        "a23456789_123456789-",
    ];
    for name in names {
        let app = server.app(name);
        let token = app.create_with(name, "", r#"{"a":1}"#).await;
        app.set(&token, r#"{"b":2}"#).await.expect("alive");
        assert_eq!(app.get(&token).await.expect("alive").d(), r#"{"a":1,"b":2}"#);
    }
    for name in names {
        let app = server.app(name);
        assert_eq!(
            (
                app.soid(name).await.len(),
                app.soapp(60).await.len(),
                app.activity(60).await
            ),
            (1, 1, 1),
            "{name}"
        );
        assert_eq!(app.killall().await, 1, "{name}");
    }
}
