//! A wall clock that jumps ends no session for good: nothing is removed until it is right again, or has been steady.

use std::time::Duration;

use crate::support::{App, Server, Store, eventually};

const EXPIRED: &str = "rest_sessions_expired_total";
const DAY: i64 = 86_400;
/// What a clock must have been steady for, in seconds.
const STEADY: u64 = 600;

/// A server whose wiper looks every second, with a session that is due for it and one that is not.
async fn world() -> (Server, App, String) {
    let server = Server::start_with(Store::Embedded, |config| config.wipe = 1).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=3600", r#"{"a":1}"#).await;
    app.create_with("ben", "ttl=10", "").await;
    (server, app, token)
}

/// Lets the wiper look a few times: it does so by the clock of the machine, and leaves no trace of a look in vain.
async fn looks() {
    tokio::time::sleep(Duration::from_millis(2500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_ahead_and_back_costs_no_session() {
    let (server, app, token) = world().await;
    server.jump(DAY);
    looks().await;
    // To all that read, the session is over. They must not make it so.
    assert!(app.get(&token).await.is_none());
    assert!(app.set(&token, r#"{"b":2}"#).await.is_none());
    assert_eq!(app.soid("ann").await.len(), 0);
    looks().await;
    assert_eq!(server.metric(EXPIRED).await, 0);
    server.jump(-DAY);
    assert_eq!(app.get(&token).await.expect("alive").d(), r#"{"a":1}"#);
    // The wiper goes on at once.
    server.advance(11);
    server.until_metric(EXPIRED, 1).await;
    assert!(app.get(&token).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_is_kept_counts_after_ten_minutes() {
    let (server, app, token) = world().await;
    server.jump(DAY);
    looks().await;
    server.advance(STEADY - 1);
    looks().await;
    assert_eq!(server.metric(EXPIRED).await, 0);
    server.advance(1);
    server.until_metric(EXPIRED, 2).await;
    assert!(app.get(&token).await.is_none());
    eventually("both are gone", async || app.activity(7200).await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_back_wipes_nothing_and_a_small_one_is_none() {
    let (server, app, token) = world().await;
    server.jump(-DAY);
    looks().await;
    assert_eq!(app.get(&token).await.expect("alive").idle, 0);
    server.jump(DAY + 20);
    server.until_metric(EXPIRED, 1).await;
    assert!(app.get(&token).await.is_some());
}
