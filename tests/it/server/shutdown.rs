//! SIGTERM and SIGINT: not ready first, then no new connections, then the end, whatever clients do.

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

/// Waits for what comes without a request of ours.
async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let looking = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"));
}

/// Waits until nobody listens any more.
async fn until_closed(process: &Process) {
    until("no new connections", || async {
        TcpStream::connect(process.address()).await.is_err()
    })
    .await;
}

async fn not_ready_first(signal: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &["--drain-delay", "2"]);
    let app = process.app();
    let token = app.create("somebody").await;
    assert_eq!(process.ask("GET", "/readyz", "").await.status, 200);
    process.signal(signal);
    until("not ready", || async {
        process.ask("GET", "/readyz", "").await.status != 200
    })
    .await;
    let ready = process.ask("GET", "/readyz", "").await;
    ready.refused(503, "shuttingDown", "The service is about to end");
    assert_eq!(ready.header("retry-after"), "1");
    // Everything else goes on, on new connections too.
    let mut wire = Wire::connect(process.address()).await;
    assert_eq!(wire.get("/ping").await, (200, "PONG".into()));
    assert_eq!(process.ask("GET", "/livez", "").await.status, 200);
    assert_eq!(app.get(&token).await.map(|session| session.r), Some(1));
    app.create("another").await;
    let (code, log) = process.wait();
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn sigterm_makes_it_not_ready_first() {
    not_ready_first("TERM").await;
}

#[tokio::test]
async fn sigint_makes_it_not_ready_first() {
    not_ready_first("INT").await;
}

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &["--timeout", "30"]);
    let token = process.app().create("somebody").await;
    let mut wire = Wire::connect(process.address()).await;
    let body = r#"{"said":"in time"}"#;
    let (sooner, later) = body.split_at(9);
    let length = body.len();
    wire.send(&format!(
        "POST /test-app/set/{token} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{sooner}"
    ))
    .await;
    // A request that came later has been answered, so this one has begun.
    process.ask("GET", "/ping", "").await;
    process.signal("TERM");
    until_closed(&process).await;
    wire.send(later).await;
    let (status, answer) = wire.answer().await;
    assert_eq!((status, &json(&answer)["d"]), (200, &json(body)));
    wire.closed().await;
    let (code, log) = process.wait();
    assert_eq!(code, Some(0), "{log}");

    let process = Process::start(folder.path(), &[]);
    assert_eq!(process.app().get(&token).await.expect("it is there").d(), body);
}

/// A connection that has sent this much, and then nothing, may not keep the server from its end.
async fn does_not_hold_the_end_back(sent: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    // Connections have no end of their own, and more time to drain than we wait.
    let process = Process::start(folder.path(), &["--idle-timeout", "3600", "--drain-timeout", "3600"]);
    let mut wire = Wire::connect(process.address()).await;
    wire.send(sent).await;
    if sent.ends_with("\r\n\r\n") {
        assert_eq!(wire.answer().await, (200, "PONG".into()));
    }
    // Answered on a connection that came later, so the other one has been accepted.
    process.ask("GET", "/ping", "").await;
    process.stop();
    wire.closed().await;
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_the_end_back() {
    does_not_hold_the_end_back("").await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_end_back() {
    does_not_hold_the_end_back("GET /ping HTTP/1.1\r\nHost: test\r\n\r\n").await;
}

/// Its rest may be on the way, so it gets the time that requests get, and no more.
#[tokio::test]
async fn the_deadline_holds_against_a_half_sent_head() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &["--idle-timeout", "3600", "--drain-timeout", "0.5"]);
    let mut half = Wire::connect(process.address()).await;
    half.send("GET /ping HTTP/1.1\r\nHost: te").await;
    process.ask("GET", "/ping", "").await;
    let log = process.stop();
    assert!(log.contains(" WARN "), "{log}");
}

#[tokio::test]
async fn the_deadline_holds_against_a_stuck_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &["--timeout", "3600", "--drain-timeout", "0.5"]);
    let token = process.app().create("somebody").await;
    let mut stuck = Wire::connect(process.address()).await;
    stuck
        .send(&format!(
            "POST /test-app/set/{token} HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n{{"
        ))
        .await;
    process.ask("GET", "/ping", "").await;
    let log = process.stop();
    assert!(log.contains(" WARN "), "{log}");
    // Its end is no damage.
    let process = Process::start(folder.path(), &[]);
    assert!(process.app().get(&token).await.is_some());
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_the_end_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &["--drain-timeout", "0.5"]);
    let mut deaf = Wire::connect(process.address()).await;
    // Some 40 MB of answers: more than the buffers in between take.
    let requests = "GET /openapi.yaml HTTP/1.1\r\nHost: test\r\n\r\n".repeat(1_000);
    let mut answered = 0;
    let deaf = tokio::spawn(async move {
        deaf.send(&requests).await;
        deaf
    });
    // Stuck, once it has answered some and no more of them.
    loop {
        let before = answered;
        tokio::time::sleep(Duration::from_millis(200)).await;
        answered = answers(&process).await;
        if answered > 0 && answered == before {
            break;
        }
    }
    assert!(answered < 1_000, "the buffers took all of it");
    let log = process.stop();
    assert!(log.contains(" WARN "), "{log}");
    deaf.abort();
}

/// How many requests for the contract have been answered.
async fn answers(process: &Process) -> u64 {
    const SERIES: &str = r#"rest_sessions_http_requests_total{method="GET",route="/openapi.yaml",status="200"} "#;
    let metrics = process.ask("GET", "/metrics", "").await.body;
    let count = metrics.lines().find_map(|line| line.strip_prefix(SERIES));
    count.map_or(0, |count| count.parse().expect("a count"))
}

/// Every thread that logs is stuck, as it would be with a disk that has frozen.
#[test]
fn the_end_has_a_limit_where_threads_are_stuck() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = crate::process::free_port();
    let mut command = Process::command(folder.path(), &["--loglevel", "debug", "--drain-timeout", "0.5"]);
    command.env("RS_PORT", port.to_string()).stdout(Stdio::null());
    // Its log goes into a pipe that nobody reads.
    let mut process = command.spawn().expect("the program starts");
    let connect = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
    let mut clients = Vec::new();
    let filled = std::time::Instant::now();
    let mut silent = 0;
    // At one line each, some thousand answers fill it; then nobody is answered any more.
    while silent < 10 {
        assert!(filled.elapsed() < PATIENCE * 6, "the pipe takes everything");
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
    let status = eventually("the end", || process.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(3), "it ended as if all had been well");
}

#[tokio::test]
async fn a_frozen_redis_does_not_hold_the_end_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = redis_server::start(&[]).expect("redis-server");
    let flags = ["--redis-url", &redis.url(), "--timeout", "1", "--touch", "30"];
    let process = Process::start(folder.path(), &flags);
    let app = process.app();
    let token = app.create("ann").await;
    // A read that is still to be told to Redis.
    app.get(&token).await.expect("alive");
    redis.freeze();
    process.signal("TERM");
    let (code, log) = process.wait();
    redis.thaw();
    assert_eq!(code, Some(1), "{log}");
    let last = log.lines().last().expect("a line");
    assert!(last.starts_with("rest-sessions: ") && last.contains("reads"), "{log}");
}

/// The names of hosts come from a file that is never to be opened: a named pipe, in a mount namespace of its own.
#[test]
fn a_lookup_of_a_name_does_not_hold_the_end_back() {
    const START: &str = r#"mkfifo hosts && mount --bind hosts /etc/hosts && exec "$0" "$@""#;
    let folder = tempfile::tempdir().expect("a folder");
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
    // Said when the first lookup has had its time.
    eventually("a lookup", || process.log().contains("the store is away").then_some(()));
    process.signal("TERM");
    let (code, log) = process.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("ended") && !log.contains("ERROR"), "{log}");
}

/// Longer than the service looks away, and with a client that sends no more: it waits for the answer.
#[tokio::test]
async fn a_slow_answer_reaches_a_client_that_has_closed_its_sending_side() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = redis_server::start(&[]).expect("redis-server");
    let process = Process::start(folder.path(), &["--redis-url", &redis.url(), "--timeout", "3"]);
    let token = process.app().create("ann").await;
    redis.freeze();
    let mut wire = Wire::connect(process.address()).await;
    wire.send(&format!("GET /test-app/get/{token} HTTP/1.1\r\nHost: test\r\n\r\n"))
        .await;
    wire.0.shutdown().await.expect("it is closed");
    let (status, _) = wire.answer().await;
    redis.thaw();
    assert_eq!(status, 503);
    wire.closed().await;
}
