//! Tests of `no_resave`: such a session ends `ttl` seconds after its creation, however often it is used.

use crate::support::{Server, Store, for_every_store};

for_every_store![
    every_answer_reports_the_seconds_left_as_ttl,
    use_does_not_extend_a_no_resave_session,
    an_unused_no_resave_session_ends_at_the_same_second,
    only_true_and_1_enable_no_resave,
];

async fn every_answer_reports_the_seconds_left_as_ttl(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=100&no_resave=true", "").await;
    server.advance(30);
    for session in [app.soid("ann").await, app.soapp(60).await].concat() {
        assert_eq!((session.ttl, session.idle, session.no_resave), (70, 30, true));
    }
    let session = app.get(&token).await.expect("alive");
    assert_eq!((session.ttl, session.idle, session.no_resave), (70, 30, true));
    server.advance(10);
    let session = app.set(&token, r#"{"a":1}"#).await.expect("alive");
    assert_eq!((session.ttl, session.idle, session.no_resave), (60, 10, true));
    server.advance(5);
    for session in [app.soid("ann").await, app.soapp(60).await].concat() {
        assert_eq!((session.ttl, session.idle, session.no_resave), (55, 5, true));
    }
}

async fn use_does_not_extend_a_no_resave_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10&no_resave=1", "").await;
    for left in (0..10).rev() {
        server.advance(1);
        assert_eq!(app.get(&token).await.expect("alive").ttl, left);
        assert_eq!(app.set(&token, r#"{"a":1}"#).await.expect("alive").ttl, left);
    }
    server.advance(1);
    assert!(app.get(&token).await.is_none());
    assert!(app.set(&token, r#"{"a":1}"#).await.is_none());
    assert!(app.soid("ann").await.is_empty());
}

async fn an_unused_no_resave_session_ends_at_the_same_second(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let [early, late] = [
        app.create_with("ann", "ttl=10&no_resave=1", "").await,
        app.create_with("ann", "ttl=10&no_resave=1", "").await,
    ];
    server.advance(10);
    assert_eq!(app.get(&early).await.expect("alive").ttl, 0);
    server.advance(1);
    assert!(app.get(&early).await.is_none());
    assert!(app.get(&late).await.is_none());
}

async fn only_true_and_1_enable_no_resave(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for (parameter, expected) in [
        ("no_resave=true", true),
        ("no_resave=1", true),
        ("no_resave=false", false),
        ("no_resave=0", false),
        ("no_resave=", false),
        ("no_resave", false),
        ("no_resave=TRUE", false),
        ("no_resave=yes", false),
    ] {
        let token = app.create_with("ann", parameter, "").await;
        assert_eq!(app.get(&token).await.expect("alive").no_resave, expected, "{parameter}");
    }
}
