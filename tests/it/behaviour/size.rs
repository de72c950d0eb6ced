//! Tests of the size limit: the `d` of a session may have at most 60000 bytes of JSON.

use crate::support::{Answer, Server, Store, for_every_store};

for_every_store![
    d_may_have_60000_bytes_but_not_more,
    a_refused_set_changes_nothing,
    a_set_that_removes_enough_is_accepted,
    the_limit_counts_bytes_not_characters,
];

const LIMIT: usize = 60_000;
const MESSAGE: &str = "The body, and d as stored, may have at most 60000 bytes";

/// A `d` with this one key and `bytes` bytes in all.
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

async fn a_refused_set_changes_nothing(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let old = of_bytes("a", 40_000);
    let token = app.create_with("ann", "ttl=100", &old).await;
    server.advance(60);
    // Each `d` is within the limit. Merged, with one comma in place of two braces, they exceed it by one byte.
    app.try_set(&token, of_bytes("b", LIMIT - 40_000 + 2))
        .await
        .refused(413, "tooLarge", MESSAGE);
    let session = &app.soid("ann").await[0];
    assert_eq!((session.w, session.idle, session.d()), (1, 60, old.as_str()));
    // The refused set did not renew the session.
    server.advance(41);
    assert!(app.get(&token).await.is_none());
}

async fn a_set_that_removes_enough_is_accepted(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "", &of_bytes("a", 40_000)).await;
    let fits = of_bytes("b", LIMIT - 40_000 + 1);
    assert_eq!(app.set(&token, fits).await.expect("alive").d().len(), LIMIT);
    // `d` is at the limit now; sets that shorten or remove values still succeed.
    let session = app.set(&token, r#"{"a":"small"}"#).await.expect("alive");
    assert_eq!(session.d().len(), LIMIT - 40_000 + 1 + r#"{"a":"small""#.len());
    let larger = of_bytes("c", 59_000).replacen('{', r#"{"b":null,"a":null,"#, 1);
    assert_eq!(app.set(&token, larger).await.expect("alive").d(), of_bytes("c", 59_000));
}

async fn the_limit_counts_bytes_not_characters(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app
        .create_with("ann", "", &format!(r#"{{"a":"{}"}}"#, "한".repeat(10_000)))
        .await;
    // The session has 10,000 characters in 30,000 bytes, and the set adds as many.
    let more = format!(r#"{{"b":"{}"}}"#, "한".repeat(10_000));
    app.try_set(&token, more).await.refused(413, "tooLarge", MESSAGE);
    let less = format!(r#"{{"b":"{}"}}"#, "한".repeat(9_990));
    assert!(app.set(&token, less).await.is_some());
}
