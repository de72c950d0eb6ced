//! Silent, slow, idle and pipelining connections, and connections beyond the limit.

use std::time::Duration;

use rest_sessions::config::{Config, DurationArg};
use tokio::time::{sleep, timeout};

use super::Wire;
use crate::support::{Server, Store};

const IDLE: Duration = Duration::from_secs(1);
/// Well within `IDLE`, even on a busy machine.
const SHORT: Duration = Duration::from_millis(400);

async fn start(change: impl FnOnce(&mut Config)) -> (Server, String) {
    let server = Server::start_with(Store::Embedded, |config| {
        config.idle_timeout = DurationArg(IDLE);
        change(config);
    });
    let server = server.await;
    let address = server.address.to_string();
    (server, address)
}

async fn ping(wire: &mut Wire) {
    assert_eq!(wire.get("/ping").await, (200, "PONG".into()));
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let (_server, address) = start(|_| ()).await;
    Wire::connect(&address).await.assert_closed().await;
}

#[tokio::test]
async fn a_connection_with_an_incomplete_head_is_closed() {
    let (_server, address) = start(|_| ()).await;
    for half in ["G", "GET /ping HTTP/1.1\r\n", "GET /ping HTTP/1.1\r\nHost: test\r\n"] {
        let mut wire = Wire::connect(&address).await;
        wire.send(half).await;
        wire.assert_closed().await;
    }
}

#[tokio::test]
async fn a_connection_with_a_trickling_head_is_closed() {
    let (_server, address) = start(|_| ()).await;
    let mut wire = Wire::connect(&address).await;
    wire.send("GET /ping HTTP/1.1\r\n").await;
    // Each line arrives within the timeout, but the whole head does not. At last a write fails.
    let trickle = async {
        for n in 0.. {
            sleep(SHORT).await;
            let line = format!("X-Line-{n}: x\r\n");
            if tokio::io::AsyncWriteExt::write_all(&mut wire.0, line.as_bytes())
                .await
                .is_err()
            {
                break;
            }
        }
    };
    timeout(crate::process::PATIENCE, trickle)
        .await
        .expect("closed in time");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_kept() {
    let (_server, address) = start(|_| ()).await;
    let mut wire = Wire::connect(&address).await;
    // Each pause is shorter than the timeout; their sum is longer.
    for _ in 0..5 {
        sleep(SHORT).await;
        ping(&mut wire).await;
    }
    wire.assert_closed().await;
}

#[tokio::test]
async fn a_connection_with_a_slow_body_is_not_idle() {
    let (_server, address) = start(|_| ()).await;
    let mut wire = Wire::connect(&address).await;
    wire.send("PUT /test-app/create/ann?ip=10.0.0.1 HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n{\"a\"")
        .await;
    sleep(IDLE * 2).await;
    wire.send(":\"b\"}").await;
    let (status, body) = wire.answer().await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn a_missing_body_is_answered_408() {
    let (_server, address) = start(|config| config.timeout = DurationArg(SHORT)).await;
    let mut wire = Wire::connect(&address).await;
    wire.send("PUT /test-app/create/ann?ip=10.0.0.1 HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n{\"a\"")
        .await;
    let (status, body) = wire.answer().await;
    assert_eq!(status, 408);
    assert_eq!(
        body,
        r#"{"name":"requestTimeout","message":"The body did not arrive in time"}"#
    );
    wire.assert_closed().await;
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_a_free_slot() {
    let (_server, address) = start(|config| {
        config.max_connections = 2;
        config.idle_timeout = DurationArg(Duration::from_mins(10));
    })
    .await;
    let mut first = Wire::connect(&address).await;
    ping(&mut first).await;
    let mut second = Wire::connect(&address).await;
    ping(&mut second).await;

    let mut third = Wire::connect(&address).await;
    third.send("GET /ping HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(
        timeout(SHORT, third.read_answer()).await.is_err(),
        "served beyond the cap"
    );
    // Connections within the limit are served meanwhile.
    ping(&mut second).await;

    drop(first);
    assert_eq!(third.answer().await, (200, "PONG".into()));
    ping(&mut second).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_server, address) = start(|_| ()).await;
    let mut wire = Wire::connect(&address).await;
    let request = |line: &str, body: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut all = String::new();
    for n in 0..50 {
        // Requests with and without the store alternate, so that their answers could overtake each other.
        all += &request(&format!("PUT /test-app/create/user-{n}?ip=10.0.0.1"), r#"{"a":1}"#);
        all += &request("GET /ping", "");
        all += &request(&format!("GET /test-app/soid/user-{n}"), "");
        all += &request("GET /nowhere", "");
    }
    wire.send(&all).await;
    for n in 0..50 {
        let (status, body) = wire.answer().await;
        assert!(status == 200 && body.starts_with(r#"{"token":"#), "{status} {body}");
        assert_eq!(wire.answer().await, (200, "PONG".into()));
        let (status, body) = wire.answer().await;
        assert!(
            status == 200 && body.contains(&format!(r#""id":"user-{n}""#)),
            "{status} {body}"
        );
        let (status, body) = wire.answer().await;
        assert!(status == 404 && body.contains("notFound"), "{status} {body}");
    }
}
