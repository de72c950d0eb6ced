//! Tests of jumps of the wall clock: the wiper removes nothing until the clock is right again or has been steady for
//! ten minutes.

use std::time::Duration;

use crate::support::{App, Server, Store, eventually};

const EXPIRED: &str = "rest_sessions_expired_total";
const DAY: i64 = 86_400;
/// Seconds for which the clock has to be steady before the wiper trusts it.
const STEADY: u64 = 600;

/// A server whose wiper runs every second, with a session that lives for an hour and one that lives for ten seconds.
async fn start() -> (Server, App, String) {
    let server = Server::start_with(Store::Embedded, |config| config.wipe = 1).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=3600", r#"{"a":1}"#).await;
    app.create_with("ben", "ttl=10", "").await;
    (server, app, token)
}

/// Waits for a few runs of the wiper. It runs by the clock of the machine, and a run that removes nothing leaves no
/// trace to wait for.
async fn wiper_runs() {
    tokio::time::sleep(Duration::from_millis(2500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ahead_and_back_ends_no_session() {
    let (server, app, token) = start().await;
    server.jump(DAY);
    wiper_runs().await;
    // Requests find the session expired, but must not remove it.
    assert!(app.get(&token).await.is_none());
    assert!(app.set(&token, r#"{"b":2}"#).await.is_none());
    assert_eq!(app.soid("ann").await.len(), 0);
    wiper_runs().await;
    assert_eq!(server.metric(EXPIRED).await, 0);
    server.jump(-DAY);
    assert_eq!(app.get(&token).await.expect("alive").d(), r#"{"a":1}"#);
    // With the right time, the wiper continues at once.
    server.advance(11);
    server.until_metric(EXPIRED, 1).await;
    assert!(app.get(&token).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wiper_trusts_a_steady_clock_after_ten_minutes() {
    let (server, app, token) = start().await;
    server.jump(DAY);
    wiper_runs().await;
    server.advance(STEADY - 1);
    wiper_runs().await;
    assert_eq!(server.metric(EXPIRED).await, 0);
    server.advance(1);
    server.until_metric(EXPIRED, 2).await;
    assert!(app.get(&token).await.is_none());
    eventually("both sessions are removed", async || app.activity(7200).await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wiper_stops_for_a_jump_back_but_not_for_a_small_jump() {
    let (server, app, token) = start().await;
    server.jump(-DAY);
    wiper_runs().await;
    assert_eq!(app.get(&token).await.expect("alive").idle, 0);
    server.jump(DAY + 20);
    server.until_metric(EXPIRED, 1).await;
    assert!(app.get(&token).await.is_some());
}
