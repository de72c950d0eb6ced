//! The sliding timeout: a session is over when `idle > ttl`, and only get and set put that off.

use crate::support::{Server, Store, for_every_store};

for_every_store![
    a_session_lives_to_the_last_second_of_its_ttl,
    an_expired_session_is_missing_everywhere,
    get_renews,
    set_renews,
    lists_do_not_renew,
    lists_are_no_reads_and_no_writes,
    nothing_revives_an_expired_session,
];

async fn a_session_lives_to_the_last_second_of_its_ttl(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    // One for each route, as some of them renew.
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

async fn an_expired_session_is_missing_everywhere(store: Store) {
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

async fn get_renews(store: Store) {
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

async fn set_renews(store: Store) {
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

async fn lists_do_not_renew(store: Store) {
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

async fn lists_are_no_reads_and_no_writes(store: Store) {
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

async fn nothing_revives_an_expired_session(store: Store) {
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
