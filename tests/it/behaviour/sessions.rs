//! Tests of one session from its creation to its end, with the exact text of each answer.

use std::collections::HashSet;

use reqwest::Method;

use crate::support::{Answer, App, NO_TOKEN, Server, Store, for_every_store};

for_every_store![
    every_answer_has_exactly_the_expected_bytes,
    a_missing_session_is_not_an_error,
    a_killed_session_is_missing,
    get_answers_the_count_of_earlier_reads,
    set_answers_the_new_w_and_the_idle_before_it,
    create_uses_the_default_ttl_unless_one_is_given,
    tokens_are_64_letters_and_digits_and_never_repeat,
    create_ignores_a_token_from_the_client,
    a_session_survives_a_restart,
];

async fn text(app: &App, method: Method, path: &str, body: &'static str) -> String {
    Answer::of(app.request(method, path).body(body)).await.ok().to_owned()
}

/// The token in the answer of a create. The answer must have no other field.
fn token_of(created: &str) -> &str {
    let rest = created.strip_prefix(r#"{"token":""#);
    rest.and_then(|rest| rest.strip_suffix(r#""}"#)).expect(created)
}

async fn every_answer_has_exactly_the_expected_bytes(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let created = text(
        &app,
        Method::PUT,
        "/create/ann?ip=10.0.0.1&ttl=600",
        r#"{"name":"Ann","age":42,"on":true}"#,
    )
    .await;
    let token = token_of(&created);
    server.advance(3);
    assert_eq!(
        text(&app, Method::GET, &format!("/get/{token}"), "").await,
        r#"{"id":"ann","r":1,"w":1,"ttl":600,"idle":3,"ip":"10.0.0.1","d":{"name":"Ann","age":42,"on":true}}"#
    );
    server.advance(4);
    assert_eq!(
        text(
            &app,
            Method::POST,
            &format!("/set/{token}"),
            r#"{"age":43,"name":null,"on":null}"#
        )
        .await,
        r#"{"id":"ann","r":2,"w":2,"ttl":600,"idle":4,"ip":"10.0.0.1","d":{"age":43}}"#
    );
    let one = r#"{"sessions":[{"id":"ann","r":2,"w":2,"ttl":600,"idle":0,"ip":"10.0.0.1","d":{"age":43}}]}"#;
    assert_eq!(text(&app, Method::GET, "/soid/ann", "").await, one);
    assert_eq!(text(&app, Method::GET, "/soapp?dt=60", "").await, one);
    assert_eq!(
        text(&app, Method::GET, "/activity?dt=60", "").await,
        r#"{"activity":1}"#
    );
    assert_eq!(
        text(&app, Method::DELETE, &format!("/kill/{token}"), "").await,
        r#"{"kill":1}"#
    );
    let fixed = text(&app, Method::PUT, "/create/ann?ip=10.0.0.1&ttl=600&no_resave=1", "").await;
    server.advance(10);
    let fixed = token_of(&fixed);
    assert_eq!(
        text(&app, Method::GET, &format!("/get/{fixed}"), "").await,
        r#"{"id":"ann","r":1,"w":1,"ttl":590,"idle":10,"ip":"10.0.0.1","no_resave":true}"#
    );
    assert_eq!(text(&app, Method::DELETE, "/killsoid/ann", "").await, r#"{"kill":1}"#);
    assert_eq!(text(&app, Method::DELETE, "/killall", "").await, r#"{"kill":0}"#);
}

/// Checks that every route answers as if the session had never existed.
async fn assert_missing(app: &App, id: &str, token: &str) {
    assert_eq!(text(app, Method::GET, &format!("/get/{token}"), "").await, "{}");
    assert_eq!(
        text(app, Method::POST, &format!("/set/{token}"), r#"{"a":1}"#).await,
        "{}"
    );
    assert_eq!(
        text(app, Method::GET, &format!("/soid/{id}"), "").await,
        r#"{"sessions":[]}"#
    );
    assert_eq!(text(app, Method::GET, "/soapp?dt=7200", "").await, r#"{"sessions":[]}"#);
    assert_eq!(
        text(app, Method::DELETE, &format!("/kill/{token}"), "").await,
        r#"{"kill":0}"#
    );
}

async fn a_missing_session_is_not_an_error(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    assert_missing(&app, "ann", NO_TOKEN).await;
    assert_eq!(app.activity(7200).await, 0);
    assert_eq!(app.killsoid("ann").await, 0);
    assert_eq!(app.killall().await, 0);
    // The set in `assert_missing` created no session.
    assert!(app.get(NO_TOKEN).await.is_none());
}

async fn a_killed_session_is_missing(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "", r#"{"a":1}"#).await;
    app.get(&token).await.expect("alive");
    assert_eq!(app.kill(&token).await, 1);
    assert_missing(&app, "ann", &token).await;
    assert_eq!(app.activity(7200).await, 0);
}

async fn get_answers_the_count_of_earlier_reads(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    for expected in 1..=3 {
        let session = app.get(&token).await.expect("alive");
        assert_eq!((session.r, session.w), (expected, 1));
    }
}

async fn set_answers_the_new_w_and_the_idle_before_it(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    app.get(&token).await.expect("alive");
    for expected in 2..=4 {
        server.advance(5);
        let session = app.set(&token, r#"{"a":1}"#).await.expect("alive");
        assert_eq!((session.r, session.w, session.idle), (2, expected, 5));
    }
    let session = app.get(&token).await.expect("alive");
    assert_eq!((session.r, session.w, session.idle), (2, 4, 0));
}

async fn create_uses_the_default_ttl_unless_one_is_given(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let default = app.create("ann").await;
    let explicit = app.create_with("ann", "ttl=2147483647", "").await;
    assert_eq!(app.get(&default).await.expect("alive").ttl, 7200);
    assert_eq!(app.get(&explicit).await.expect("alive").ttl, 2_147_483_647);
}

async fn tokens_are_64_letters_and_digits_and_never_repeat(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let mut tokens = HashSet::new();
    let mut characters = HashSet::new();
    for _ in 0..100 {
        let token = app.create("ann").await;
        assert_eq!(token.len(), 64);
        characters.extend(token.bytes());
        tokens.insert(token);
    }
    assert_eq!(tokens.len(), 100);
    // 6,400 draws miss one of 62 characters once in 10^43 runs.
    assert_eq!(characters.len(), 62);
    assert!(characters.iter().all(u8::is_ascii_alphanumeric));
}

async fn create_ignores_a_token_from_the_client(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let body = format!(r#"{{"token":"{NO_TOKEN}"}}"#);
    let token = app.create_with("ann", &format!("token={NO_TOKEN}"), &body).await;
    assert_ne!(token, NO_TOKEN);
    assert!(app.get(NO_TOKEN).await.is_none());
    // In `d` the token is a string like any other.
    assert_eq!(app.get(&token).await.expect("alive").d(), body);
}

async fn a_session_survives_a_restart(store: Store) {
    let server = Server::start(store).await;
    let token = server.app("forum").create_with("ann", "ttl=60", r#"{"a":1}"#).await;
    server.advance(7);
    server.app("forum").get(&token).await.expect("alive");
    let server = server.restart().await;
    server.advance(5);
    let session = server.app("forum").get(&token).await.expect("alive");
    assert_eq!(
        (session.id.as_str(), session.ip.as_str(), session.d()),
        ("ann", "127.0.0.1", r#"{"a":1}"#)
    );
    // The restart kept the `r` and `la` that the get before it wrote.
    assert_eq!((session.r, session.w, session.ttl, session.idle), (2, 1, 60, 5));
}
