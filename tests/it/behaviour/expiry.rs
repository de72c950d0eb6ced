//! Tests of the sliding timeout: a session expires when `idle > ttl`, and only get and set renew it.

use crate::support::{Server, Store, for_every_store};

for_every_store![
    a_session_lives_through_the_last_second_of_its_ttl,
    every_route_treats_an_expired_session_as_missing,
    get_renews_a_session,
    set_renews_a_session,
    lists_do_not_renew_a_session,
    lists_count_as_neither_reads_nor_writes,
    no_request_revives_an_expired_session,
];

async fn a_session_lives_through_the_last_second_of_its_ttl(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    // One session for each route, since get and set renew theirs.
    let [read, written, killed] = [
        app.create_with("a", "ttl=10", "").await,
        app.create_with("b", "ttl=10", "").await,
        app.create_with("c", "ttl=10", "").await,
    ];
    server.advance(10);
    assert_eq!(app.soapp(10).await.len(), 3);
    assert_eq!(app.soid("a").await.len(), 1);
    assert_eq!(app.get(&read).await.expect("alive").idle, 10);
    assert_eq!(app.set(&written, r#"{"a":1}"#).await.expect("alive").idle, 10);
    assert_eq!(app.kill(&killed).await, 1);
}

async fn every_route_treats_an_expired_session_as_missing(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let [read, written, killed] = [
        app.create_with("a", "ttl=10", "").await,
        app.create_with("b", "ttl=10", "").await,
        app.create_with("c", "ttl=10", "").await,
    ];
    server.advance(11);
    assert_eq!(app.soapp(100).await.len(), 0);
    assert_eq!(app.soid("a").await.len(), 0);
    assert!(app.get(&read).await.is_none());
    assert!(app.set(&written, r#"{"a":1}"#).await.is_none());
    assert_eq!(app.kill(&killed).await, 0);
}

async fn get_renews_a_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    for _ in 0..5 {
        server.advance(10);
        assert_eq!(app.get(&token).await.expect("alive").idle, 10);
    }
    assert_eq!(app.soid("ann").await[0].idle, 0);
    server.advance(11);
    assert!(app.get(&token).await.is_none());
}

async fn set_renews_a_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    for _ in 0..5 {
        server.advance(10);
        assert_eq!(app.set(&token, r#"{"a":1}"#).await.expect("alive").idle, 10);
    }
    assert_eq!(app.soid("ann").await[0].idle, 0);
    server.advance(11);
    assert!(app.set(&token, r#"{"a":1}"#).await.is_none());
}

async fn lists_do_not_renew_a_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    for idle in 1..=10 {
        server.advance(1);
        assert_eq!(app.soid("ann").await[0].idle, idle);
        assert_eq!(app.soapp(10).await[0].idle, idle);
        assert_eq!(app.activity(10).await, 1);
    }
    server.advance(1);
    assert!(app.get(&token).await.is_none());
}

async fn lists_count_as_neither_reads_nor_writes(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    for _ in 0..3 {
        for session in [app.soid("ann").await, app.soapp(10).await].concat() {
            assert_eq!((session.r, session.w), (1, 1));
        }
        app.activity(10).await;
    }
    let session = app.get(&token).await.expect("alive");
    assert_eq!((session.r, session.w), (1, 1));
}

async fn no_request_revives_an_expired_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", r#"{"a":1}"#).await;
    server.advance(11);
    for _ in 0..2 {
        assert!(app.get(&token).await.is_none());
        assert!(app.set(&token, r#"{"b":2}"#).await.is_none());
        assert!(app.soid("ann").await.is_empty());
        assert!(app.soapp(100).await.is_empty());
    }
}
