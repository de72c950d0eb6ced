//! activity counts ids, not sessions, by the last time that any session of the id was active.

use crate::support::{Server, Store, for_every_store};

for_every_store![
    an_id_counts_once,
    get_and_set_make_an_id_active,
    an_id_counts_although_its_session_has_expired,
    last_activity_outlives_the_session_that_was_active,
    last_activity_passes_on_more_than_once,
    an_heir_looks_no_more_active_than_it_was,
    last_activity_goes_with_the_last_session,
];

async fn an_id_counts_once(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for id in ["ann", "ann", "bob", "ann", "carl"] {
        app.create(id).await;
        server.advance(1);
    }
    assert_eq!(app.activity(60).await, 3);
}

async fn get_and_set_make_an_id_active(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = [
        app.create("ann").await,
        app.create("bob").await,
        app.create("carl").await,
    ];
    server.advance(11);
    assert_eq!(app.activity(10).await, 0);
    app.get(&tokens[0]).await.expect("alive");
    assert_eq!(app.activity(10).await, 1);
    app.set(&tokens[1], r#"{"a":1}"#).await.expect("alive");
    assert_eq!(app.activity(10).await, 2);
    // Seconds apart: less than an index may be behind.
    server.advance(7);
    app.get(&tokens[0]).await.expect("alive");
    server.advance(7);
    assert_eq!(app.activity(10).await, 1);
    assert_eq!(app.activity(14).await, 2);
    assert_eq!(app.activity(24).await, 2);
    assert_eq!(app.activity(25).await, 3);
}

async fn an_id_counts_although_its_session_has_expired(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    server.advance(50);
    assert!(app.get(&token).await.is_none());
    assert!(app.set(&token, r#"{"a":1}"#).await.is_none());
    assert!(app.soapp(60).await.is_empty());
    // Until it is removed; and what was asked of it in vain was no activity.
    assert_eq!(app.activity(50).await, 1);
    assert_eq!(app.activity(49).await, 0);
    assert_eq!(app.killsoid("ann").await, 1);
    assert_eq!(app.activity(50).await, 0);
}

async fn last_activity_outlives_the_session_that_was_active(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    app.create("ann").await;
    let busy = app.create("ann").await;
    server.advance(100);
    app.get(&busy).await.expect("alive");
    server.advance(5);
    assert_eq!(app.kill(&busy).await, 1);
    // The other session was active 105 seconds ago, the id 5.
    assert_eq!(app.activity(10).await, 1);
    server.advance(5);
    assert_eq!(app.activity(10).await, 1);
    server.advance(1);
    assert_eq!(app.activity(10).await, 0);
    assert_eq!(app.activity(11).await, 1);
}

async fn last_activity_passes_on_more_than_once(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(app.create("ann").await);
    }
    server.advance(100);
    app.set(&tokens[1], r#"{"a":1}"#).await.expect("alive");
    // Whoever inherits first, it is killed before the last one is reached.
    for token in [&tokens[1], &tokens[0], &tokens[3]] {
        assert_eq!(app.kill(token).await, 1);
        assert_eq!(app.activity(10).await, 1);
    }
    assert_eq!(app.kill(&tokens[2]).await, 1);
    assert_eq!(app.activity(7200).await, 0);
}

async fn an_heir_looks_no_more_active_than_it_was(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let quiet = app.create_with("ann", "ttl=150", "").await;
    let busy = app.create_with("ann", "ttl=150", "").await;
    server.advance(100);
    app.get(&busy).await.expect("alive");
    assert_eq!(app.kill(&busy).await, 1);
    assert!(app.soapp(99).await.is_empty());
    assert_eq!(app.soapp(100).await[0].idle, 100);
    assert_eq!(app.soid("ann").await[0].idle, 100);
    // Nor does it live any longer.
    server.advance(51);
    assert!(app.get(&quiet).await.is_none());
}

async fn last_activity_goes_with_the_last_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = [app.create("ann").await, app.create("ann").await];
    app.create("bob").await;
    for token in &tokens {
        assert_eq!(app.activity(60).await, 2);
        app.kill(token).await;
    }
    assert_eq!(app.activity(60).await, 1);
    app.killsoid("bob").await;
    assert_eq!(app.activity(60).await, 0);
    // A new session of the id starts afresh.
    server.advance(20);
    app.create("ann").await;
    assert_eq!(app.activity(10).await, 1);
}
