//! Connections that are silent, slow, idle, too many or in a hurry.

use std::time::Duration;

use rest_sessions::config::{Config, DurationArg};
use tokio::time::{sleep, timeout};

use super::Wire;
use crate::support::{Server, Store};

const IDLE: Duration = Duration::from_secs(1);
/// Short of it, even on a busy machine.
const SHORT: Duration = Duration::from_millis(400);

async fn server(change: impl FnOnce(&mut Config)) -> (Server, String) {
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
    let (_server, address) = server(|_| ()).await;
    Wire::connect(&address).await.closed().await;
}

#[tokio::test]
async fn a_half_sent_head_is_closed() {
    let (_server, address) = server(|_| ()).await;
    for half in ["G", "GET /ping HTTP/1.1\r\n", "GET /ping HTTP/1.1\r\nHost: test\r\n"] {
        let mut wire = Wire::connect(&address).await;
        wire.send(half).await;
        wire.closed().await;
    }
}

#[tokio::test]
async fn a_head_that_trickles_in_is_closed() {
    let (_server, address) = server(|_| ()).await;
    let mut wire = Wire::connect(&address).await;
    wire.send("GET /ping HTTP/1.1\r\n").await;
    // Each line comes well within the time, all of them do not; at some point nobody listens any more.
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
async fn an_idle_connection_is_closed_but_not_a_busy_one() {
    let (_server, address) = server(|_| ()).await;
    let mut wire = Wire::connect(&address).await;
    // Longer in sum than the time that each pause may take.
    for _ in 0..5 {
        sleep(SHORT).await;
        ping(&mut wire).await;
    }
    wire.closed().await;
}

#[tokio::test]
async fn a_slow_body_is_not_idle() {
    let (_server, address) = server(|_| ()).await;
    let mut wire = Wire::connect(&address).await;
    wire.send("PUT /test-app/create/somebody?ip=10.0.0.1 HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n{\"a\"")
        .await;
    sleep(IDLE * 2).await;
    wire.send(":\"b\"}").await;
    let (status, body) = wire.answer().await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_in_time() {
    let (_server, address) = server(|config| config.timeout = DurationArg(SHORT)).await;
    let mut wire = Wire::connect(&address).await;
    wire.send("PUT /test-app/create/somebody?ip=10.0.0.1 HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n{\"a\"")
        .await;
    let (status, body) = wire.answer().await;
    assert_eq!(status, 408);
    assert_eq!(
        body,
        r#"{"name":"requestTimeout","message":"The body did not arrive in time"}"#
    );
    wire.closed().await;
}

#[tokio::test]
async fn a_connection_beyond_the_cap_waits_for_its_turn() {
    let (_server, address) = server(|config| {
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
    // Those inside are served meanwhile.
    ping(&mut second).await;

    drop(first);
    assert_eq!(third.answer().await, (200, "PONG".into()));
    ping(&mut second).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_server, address) = server(|_| ()).await;
    let mut wire = Wire::connect(&address).await;
    let request = |line: &str, body: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut all = String::new();
    for n in 0..50 {
        // Slower and faster ones by turns.
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
