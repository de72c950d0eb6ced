//! Graceful shutdown by SIGTERM or SIGINT: first not ready, then no new connections, then the exit in bounded time.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::Wire;
use crate::{
    process::{PATIENCE, Process, eventually, signal},
    support::{json, redis_server},
};

/// Polls a condition until it holds.
async fn until<F: Future<Output = bool>>(expectation: &str, mut condition: impl FnMut() -> F) {
    let polling = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, polling)
        .await
        .unwrap_or_else(|_| panic!("not in time: {expectation}"));
}

/// Waits until the listener is closed.
async fn until_not_listening(process: &Process) {
    until("no new connections", || async {
        TcpStream::connect(process.address()).await.is_err()
    })
    .await;
}

async fn assert_not_ready_before_exit(signal: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &["--drain-delay", "2"]);
    let app = process.app();
    let token = app.create("ann").await;
    assert_eq!(process.ask("GET", "/readyz", "").await.status, 200);
    process.signal(signal);
    until("not ready", || async {
        process.ask("GET", "/readyz", "").await.status != 200
    })
    .await;
    let ready = process.ask("GET", "/readyz", "").await;
    ready.refused(503, "shuttingDown", "The service is about to end");
    assert_eq!(ready.header("retry-after"), "1");
    // All other requests are still served, also on new connections.
    let mut wire = Wire::connect(process.address()).await;
    assert_eq!(wire.get("/ping").await, (200, "PONG".into()));
    assert_eq!(process.ask("GET", "/livez", "").await.status, 200);
    assert_eq!(app.get(&token).await.map(|session| session.r), Some(1));
    app.create("another").await;
    let (code, log) = process.wait();
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn sigterm_makes_the_service_not_ready_before_it_exits() {
    assert_not_ready_before_exit("TERM").await;
}

#[tokio::test]
async fn sigint_makes_the_service_not_ready_before_it_exits() {
    assert_not_ready_before_exit("INT").await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &["--timeout", "30"]);
    let token = process.app().create("ann").await;
    let mut wire = Wire::connect(process.address()).await;
    let body = r#"{"said":"in time"}"#;
    let (sooner, later) = body.split_at(9);
    let length = body.len();
    wire.send(&format!(
        "POST /test-app/set/{token} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{sooner}"
    ))
    .await;
    // A later request is answered, so the server has read the first one.
    process.ask("GET", "/ping", "").await;
    process.signal("TERM");
    until_not_listening(&process).await;
    wire.send(later).await;
    let (status, answer) = wire.answer().await;
    assert_eq!((status, &json(&answer)["d"]), (200, &json(body)));
    wire.assert_closed().await;
    let (code, log) = process.wait();
    assert_eq!(code, Some(0), "{log}");

    let process = Process::start(folder.path(), &[]);
    assert_eq!(process.app().get(&token).await.expect("an existing session").d(), body);
}

/// Asserts that a connection that has sent only this does not delay the exit.
async fn assert_exit_not_delayed(sent: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Neither timeout ends the connection within the test.
    let process = Process::start(folder.path(), &["--idle-timeout", "3600", "--drain-timeout", "3600"]);
    let mut wire = Wire::connect(process.address()).await;
    wire.send(sent).await;
    if sent.ends_with("\r\n\r\n") {
        assert_eq!(wire.answer().await, (200, "PONG".into()));
    }
    // A later connection is answered, so the server has accepted the first one.
    process.ask("GET", "/ping", "").await;
    process.stop();
    wire.assert_closed().await;
}

#[tokio::test]
async fn a_silent_connection_does_not_delay_the_exit() {
    assert_exit_not_delayed("").await;
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_exit() {
    assert_exit_not_delayed("GET /ping HTTP/1.1\r\nHost: test\r\n\r\n").await;
}

/// The rest of the head may be in flight, so the connection gets the drain timeout, and no more.
#[tokio::test]
async fn an_incomplete_head_delays_the_exit_by_the_drain_timeout_at_most() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &["--idle-timeout", "3600", "--drain-timeout", "0.5"]);
    let mut wire = Wire::connect(process.address()).await;
    wire.send("GET /ping HTTP/1.1\r\nHost: te").await;
    process.ask("GET", "/ping", "").await;
    let log = process.stop();
    assert!(log.contains(" WARN "), "{log}");
}

#[tokio::test]
async fn a_stuck_request_delays_the_exit_by_the_drain_timeout_at_most() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &["--timeout", "3600", "--drain-timeout", "0.5"]);
    let token = process.app().create("ann").await;
    let mut stuck = Wire::connect(process.address()).await;
    stuck
        .send(&format!(
            "POST /test-app/set/{token} HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n{{"
        ))
        .await;
    process.ask("GET", "/ping", "").await;
    let log = process.stop();
    assert!(log.contains(" WARN "), "{log}");
    // The forced exit damages no data.
    let process = Process::start(folder.path(), &[]);
    assert!(process.app().get(&token).await.is_some());
}

#[tokio::test]
async fn a_client_that_reads_nothing_delays_the_exit_by_the_drain_timeout_at_most() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &["--drain-timeout", "0.5"]);
    let mut wire = Wire::connect(process.address()).await;
    // About 40 MB of answers: more than the socket buffers hold.
    let requests = "GET /openapi.yaml HTTP/1.1\r\nHost: test\r\n\r\n".repeat(1_000);
    let mut answered = 0;
    let client = tokio::spawn(async move {
        wire.send(&requests).await;
        wire
    });
    // The connection is stuck once the count of answers stands still.
    loop {
        let before = answered;
        tokio::time::sleep(Duration::from_millis(200)).await;
        answered = answered_contracts(&process).await;
        if answered > 0 && answered == before {
            break;
        }
    }
    assert!(answered < 1_000, "the buffers took all answers");
    let log = process.stop();
    assert!(log.contains(" WARN "), "{log}");
    client.abort();
}

/// The number of answered requests for the contract.
async fn answered_contracts(process: &Process) -> u64 {
    const SERIES: &str = r#"rest_sessions_http_requests_total{method="GET",route="/openapi.yaml",status="200"} "#;
    let metrics = process.ask("GET", "/metrics", "").await.body;
    let count = metrics.lines().find_map(|line| line.strip_prefix(SERIES));
    count.map_or(0, |count| count.parse().expect("a count"))
}

/// Every thread that writes to the log blocks, as on a frozen disk.
#[test]
fn the_service_exits_although_its_threads_are_stuck() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = crate::process::free_port();
    let mut command = Process::command(folder.path(), &["--loglevel", "debug", "--drain-timeout", "0.5"]);
    command.env("RS_PORT", port.to_string()).stdout(Stdio::null());
    // The log goes into a pipe without a reader.
    let mut process = command.spawn().expect("the program starts");
    let connect = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
    let mut clients = Vec::new();
    let filled = std::time::Instant::now();
    let mut silent = 0;
    // One log line per answer: after some thousand answers the pipe is full and no request is answered.
    while silent < 10 {
        assert!(filled.elapsed() < PATIENCE * 6, "the pipe does not fill");
        let Some(mut client) = connect() else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        client
            .set_read_timeout(Some(Duration::from_secs(1)))
            .expect("an option");
        let requests = "GET /ping HTTP/1.1\r\nHost: test\r\n\r\n".repeat(500);
        client.write_all(requests.as_bytes()).expect("small");
        let mut buffer = vec![0; 1 << 20];
        let answered = (0..200)
            .map_while(|_| client.read(&mut buffer).ok().filter(|read| *read > 0))
            .count();
        silent = if answered == 0 { silent + 1 } else { 0 };
        clients.push(client);
    }
    signal(process.id(), "TERM");
    let status = eventually("the exit", || process.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(3), "a forced exit has its own code");
}

#[tokio::test]
async fn a_frozen_redis_does_not_prevent_the_exit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = redis_server::start(&[]).expect("redis-server");
    let flags = ["--redis-url", &redis.url(), "--timeout", "1", "--touch", "30"];
    let process = Process::start(folder.path(), &flags);
    let app = process.app();
    let token = app.create("ann").await;
    // A buffered read that is not flushed yet.
    app.get(&token).await.expect("alive");
    redis.freeze();
    process.signal("TERM");
    let (code, log) = process.wait();
    redis.thaw();
    assert_eq!(code, Some(1), "{log}");
    let last = log.lines().last().expect("a line");
    assert!(last.starts_with("rest-sessions: ") && last.contains("reads"), "{log}");
}

/// Host names are looked up in a file whose opening blocks forever: a named pipe, in a mount namespace of its own.
#[test]
fn a_blocked_name_lookup_does_not_prevent_the_exit() {
    const START: &str = r#"mkfifo hosts && mount --bind hosts /etc/hosts && exec "$0" "$@""#;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flags = ["--redis-url", "redis://redis.test:6379", "--timeout", "1"];
    let program = Process::command(folder.path(), &flags);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", START])
        .arg(program.get_program())
        .args(program.get_args())
        .args(["--port", "0", "--drain-delay", "0"])
        .current_dir(folder.path())
        .stderr(Stdio::piped());
    let process = Process::spawn(command);
    // Logged when the first lookup has timed out.
    eventually("a timed out lookup", || {
        process.log().contains("cannot reach the store").then_some(())
    });
    process.signal("TERM");
    let (code, log) = process.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped") && !log.contains("ERROR"), "{log}");
}

/// The client closes its sending side and waits for an answer that takes seconds.
#[tokio::test]
async fn a_half_closed_connection_receives_a_slow_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = redis_server::start(&[]).expect("redis-server");
    let process = Process::start(folder.path(), &["--redis-url", &redis.url(), "--timeout", "3"]);
    let token = process.app().create("ann").await;
    redis.freeze();
    let mut wire = Wire::connect(process.address()).await;
    wire.send(&format!("GET /test-app/get/{token} HTTP/1.1\r\nHost: test\r\n\r\n"))
        .await;
    wire.0.shutdown().await.expect("a half-closed connection");
    let (status, _) = wire.answer().await;
    redis.thaw();
    assert_eq!(status, 503);
    wire.assert_closed().await;
}
