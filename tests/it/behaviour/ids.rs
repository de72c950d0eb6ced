//! Tests with unusual ids: an id may contain nearly any character, and no character is special to a store.

use std::collections::BTreeSet;

use crate::support::{NO_TOKEN, Server, Store, for_every_store, redis_server};

for_every_store![
    every_route_works_for_odd_ids,
    the_wiper_removes_sessions_of_odd_ids,
    ids_with_a_common_prefix_do_not_mix,
    killall_removes_sessions_of_odd_ids
];

const ODD: [&str; 34] = [
    "ann@example.com",
    "a:b:c",
    ":",
    "::",
    "a:",
    ":a",
    "us:ann",
    "_sessions",
    "SESSIONS",
    "/",
    "a/b//c",
    "/forum/killall",
    "../../etc/passwd",
    "with spaces",
    " ",
    "  leading and trailing  ",
    "한국어 사용자",
    "Ünïcödé",
    "e\u{301}",
    "é",
    "😀",
    "عربى",
    "%",
    "%2F",
    "%00",
    "+",
    "a&b=c",
    "?",
    "#",
    "\"quoted\"",
    "back\\slash",
    "{tag}",
    "*[a-z]?",
    NO_TOKEN,
];

async fn every_route_works_for_odd_ids(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let mut tokens = Vec::new();
    for id in ODD {
        tokens.push(app.create_with(id, "", r#"{"a":1}"#).await);
        app.create(id).await;
    }
    server.advance(1);
    for (id, token) in ODD.iter().zip(&tokens) {
        assert_eq!(app.get(token).await.expect("alive").id, *id);
        assert_eq!(app.set(token, r#"{"b":2}"#).await.expect("alive").id, *id);
        assert!(app.soid(id).await.iter().all(|session| session.id == *id));
        assert_eq!(app.soid(id).await.len(), 2, "{id}");
    }
    let listed: BTreeSet<_> = app.soapp(60).await.into_iter().map(|session| session.id).collect();
    assert_eq!(listed, ODD.iter().map(|id| (*id).to_owned()).collect());
    let mut alive = ODD.len() as u64;
    for (id, token) in ODD.iter().zip(&tokens) {
        assert_eq!(app.kill(token).await, 1, "{id}");
        assert_eq!(app.activity(60).await, alive, "{id}");
        assert_eq!(app.killsoid(id).await, 1, "{id}");
        alive -= 1;
        assert_eq!(app.activity(60).await, alive, "{id}");
        assert!(app.soid(id).await.is_empty(), "{id}");
    }
    assert!(app.soapp(60).await.is_empty());
    assert_nothing_left(&server);
}

async fn the_wiper_removes_sessions_of_odd_ids(store: Store) {
    let server = Server::start_with(store, |config| config.wipe = 1).await;
    let app = server.app("forum");
    let mut tokens = Vec::new();
    for id in ODD {
        tokens.push(app.create_with(id, "ttl=10", r#"{"a":1}"#).await);
    }
    server.advance(5);
    for token in &tokens {
        app.get(token).await.expect("alive");
    }
    server.advance(11);
    server
        .until_metric("rest_sessions_expired_total", ODD.len() as u64)
        .await;
    assert_nothing_left(&server);
    // The embedded store has no record left either, also after it has opened its data folder again.
    let server = server.restart().await;
    let app = server.app("forum");
    assert_eq!(app.activity(7200).await, 0);
    for id in ODD {
        assert_eq!(app.killsoid(id).await, 0, "{id}");
    }
    assert_eq!(app.killall().await, 0);
}

async fn ids_with_a_common_prefix_do_not_mix(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let similar = ["ann", "ann:", "ann:a", "anna", "Ann", "ann ", "an", "ann%3A"];
    for id in similar {
        app.create(id).await;
    }
    for id in similar {
        let sessions = app.soid(id).await;
        assert_eq!(sessions.len(), 1, "{id}");
        assert_eq!(sessions[0].id, id);
    }
    assert_eq!(app.killsoid("ann").await, 1);
    assert!(app.soid("ann").await.is_empty());
    for id in &similar[1..] {
        assert_eq!(app.soid(id).await.len(), 1, "{id}");
    }
    assert_eq!(app.activity(60).await, similar.len() as u64 - 1);
}

async fn killall_removes_sessions_of_odd_ids(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for id in ODD {
        app.create(id).await;
    }
    assert_eq!(app.killall().await, ODD.len() as u64);
    assert_eq!(app.activity(60).await, 0);
    for id in ODD {
        assert_eq!(app.killsoid(id).await, 0, "{id}");
    }
    assert_nothing_left(&server);
}

/// On Redis, checks that the namespace has no keys. The embedded store is checked through the routes only.
fn assert_nothing_left(server: &Server) {
    if server.config.redis_url.is_some() {
        assert_eq!(redis_server::keys(&server.config.namespace), [""; 0]);
    }
}
