//! How much a session may hold: 60000 bytes of JSON, and not one more.

use crate::support::{Answer, Server, Store, for_every_store};

for_every_store![
    d_may_have_60000_bytes_but_not_more,
    a_set_that_is_refused_changes_nothing,
    a_set_that_removes_enough_is_taken,
    bytes_are_counted_not_characters,
];

const LIMIT: usize = 60_000;
const MESSAGE: &str = "The body, and d as stored, may have at most 60000 bytes";

/// A `d` of one key and so many bytes in all.
fn of_bytes(key: &str, bytes: usize) -> String {
    let frame = format!(r#"{{"{key}":""}}"#).len();
    format!(r#"{{"{key}":"{}"}}"#, "x".repeat(bytes - frame))
}

async fn d_may_have_60000_bytes_but_not_more(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let largest = of_bytes("a", LIMIT);
    let token = app.create_with("ann", "", &largest).await;
    assert_eq!(app.get(&token).await.expect("alive").d(), largest);
    let token = app.create("ann").await;
    assert_eq!(app.set(&token, largest.clone()).await.expect("alive").d(), largest);
    let too_large = of_bytes("a", LIMIT + 1);
    app.try_set(&token, too_large.clone())
        .await
        .refused(413, "tooLarge", MESSAGE);
    let create = app
        .request(reqwest::Method::PUT, "/create/ann?ip=127.0.0.1")
        .body(too_large);
    Answer::of(create).await.refused(413, "tooLarge", MESSAGE);
    assert_eq!(app.soid("ann").await.len(), 2);
}

async fn a_set_that_is_refused_changes_nothing(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let old = of_bytes("a", 40_000);
    let token = app.create_with("ann", "ttl=100", &old).await;
    server.advance(60);
    // Either is small enough by itself; together, with one comma for two braces, they are one byte too many.
    app.try_set(&token, of_bytes("b", LIMIT - 40_000 + 2))
        .await
        .refused(413, "tooLarge", MESSAGE);
    let session = &app.soid("ann").await[0];
    assert_eq!((session.w, session.idle, session.d()), (1, 60, old.as_str()));
    // It was no activity either, so the end is where it was.
    server.advance(41);
    assert!(app.get(&token).await.is_none());
}

async fn a_set_that_removes_enough_is_taken(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "", &of_bytes("a", 40_000)).await;
    let fits = of_bytes("b", LIMIT - 40_000 + 1);
    assert_eq!(app.set(&token, fits).await.expect("alive").d().len(), LIMIT);
    // Full, and changed all the same by replacing and by removing.
    let session = app.set(&token, r#"{"a":"small"}"#).await.expect("alive");
    assert_eq!(session.d().len(), LIMIT - 40_000 + 1 + r#"{"a":"small""#.len());
    let larger = of_bytes("c", 59_000).replacen('{', r#"{"b":null,"a":null,"#, 1);
    assert_eq!(app.set(&token, larger).await.expect("alive").d(), of_bytes("c", 59_000));
}

async fn bytes_are_counted_not_characters(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app
        .create_with("ann", "", &format!(r#"{{"a":"{}"}}"#, "한".repeat(10_000)))
        .await;
    // 30,000 bytes of 10,000 characters are there, and as many come.
    let more = format!(r#"{{"b":"{}"}}"#, "한".repeat(10_000));
    app.try_set(&token, more).await.refused(413, "tooLarge", MESSAGE);
    let less = format!(r#"{{"b":"{}"}}"#, "한".repeat(9_990));
    assert!(app.set(&token, less).await.is_some());
}
