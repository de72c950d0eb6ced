//! Tests of soid and soapp: which sessions they list, in which order, and the exact bound of `dt`.

use std::collections::BTreeSet;

use crate::support::{Server, Session, Store, for_every_store};

for_every_store![
    soid_lists_the_sessions_of_one_id,
    soapp_lists_the_last_active_first,
    soapp_includes_a_session_active_exactly_dt_seconds_ago,
    get_and_set_move_a_session_to_the_front,
    the_largest_dt_lists_every_session,
    only_create_answers_with_a_token,
    lists_return_all_300_sessions,
];

fn ids(sessions: &[Session]) -> Vec<&str> {
    sessions.iter().map(|session| session.id.as_str()).collect()
}

async fn soid_lists_the_sessions_of_one_id(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for (id, d) in [("ann", r#"{"n":1}"#), ("bob", r#"{"n":2}"#), ("ann", r#"{"n":3}"#)] {
        app.create_with(id, "", d).await;
    }
    let sessions = app.soid("ann").await;
    assert_eq!(ids(&sessions), ["ann", "ann"]);
    let data: BTreeSet<_> = sessions.iter().map(Session::d).collect();
    assert_eq!(data, BTreeSet::from([r#"{"n":1}"#, r#"{"n":3}"#]));
    assert_eq!(ids(&app.soid("bob").await), ["bob"]);
    assert!(app.soid("carl").await.is_empty());
}

async fn soapp_lists_the_last_active_first(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for id in ["ann", "bob", "carl", "dora"] {
        app.create(id).await;
        server.advance(1);
    }
    assert_eq!(ids(&app.soapp(60).await), ["dora", "carl", "bob", "ann"]);
}

async fn soapp_includes_a_session_active_exactly_dt_seconds_ago(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    // Some close together, some far apart: the index of a store may be coarser than the answer has to be.
    for (id, pause) in [("ann", 1), ("bob", 1), ("carl", 28), ("dora", 30)] {
        app.create(id).await;
        server.advance(pause);
    }
    // The sessions are now idle for 60, 59, 58 and 30 seconds.
    for (dt, expected) in [
        (60, vec!["dora", "carl", "bob", "ann"]),
        (59, vec!["dora", "carl", "bob"]),
        (58, vec!["dora", "carl"]),
        (57, vec!["dora"]),
        (30, vec!["dora"]),
        (29, vec![]),
        (10, vec![]),
    ] {
        assert_eq!(ids(&app.soapp(dt).await), expected, "dt={dt}");
        assert_eq!(app.activity(dt).await, expected.len() as u64, "dt={dt}");
    }
}

async fn get_and_set_move_a_session_to_the_front(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let ann = app.create("ann").await;
    let bob = app.create("bob").await;
    for (token, pause) in [(&bob, 1), (&ann, 1), (&bob, 12), (&ann, 3)] {
        server.advance(pause);
        app.get(token).await.expect("alive");
    }
    assert_eq!(ids(&app.soapp(60).await), ["ann", "bob"]);
    server.advance(2);
    app.set(&bob, r#"{"a":1}"#).await.expect("alive");
    assert_eq!(ids(&app.soapp(60).await), ["bob", "ann"]);
    server.advance(9);
    // bob was active 9 seconds ago, ann 11.
    assert_eq!(ids(&app.soapp(10).await), ["bob"]);
}

async fn the_largest_dt_lists_every_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    app.create_with("ann", "ttl=2147483647", "").await;
    server.advance(2_000_000_000);
    app.create("bob").await;
    // This `dt` is longer than the time from 1970 to the start of the test.
    assert_eq!(ids(&app.soapp(2_147_483_647).await), ["bob", "ann"]);
    assert_eq!(app.activity(2_147_483_647).await, 2);
    assert_eq!(ids(&app.soapp(1_999_999_999).await), ["bob"]);
}

async fn only_create_answers_with_a_token(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    for path in [
        format!("/get/{token}"),
        "/soid/ann".into(),
        "/soapp?dt=60".into(),
        "/activity?dt=60".into(),
    ] {
        let response = app
            .request(reqwest::Method::GET, &path)
            .send()
            .await
            .expect("an answer");
        let headers = format!("{:?}", response.headers());
        let whole = headers + &response.text().await.expect("a text");
        assert!(!whole.contains(&token), "{path}: {whole}");
    }
}

async fn lists_return_all_300_sessions(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for n in 0..300 {
        app.create_with("ann", "", &format!(r#"{{"n":{n}}}"#)).await;
    }
    for sessions in [app.soid("ann").await, app.soapp(60).await] {
        let data: BTreeSet<_> = sessions.iter().map(|session| session.d().to_owned()).collect();
        assert_eq!((sessions.len(), data.len()), (300, 300));
    }
    assert_eq!(app.activity(60).await, 1);
    assert_eq!(app.killsoid("ann").await, 300);
    assert!(app.soapp(60).await.is_empty());
}
