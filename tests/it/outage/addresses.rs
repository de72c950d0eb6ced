//! Addresses of Redis: hosts, databases and sockets. An unusable one is logged in one line, without secrets.

use std::sync::Arc;

use super::{Redis, assert_all_succeed, assert_all_unavailable, rights::start_with_user, stop};
use crate::{
    check::check,
    process::Process,
    support::{NO_TOKEN, redis_server},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_url_selects_the_database() {
    let redis = Redis::running();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Arc::new(Process::start(
        folder.path(),
        &["--redis-url", &format!("{}/3", redis.url())],
    ));
    assert_all_succeed(&process).await;
    let keyspace: String = redis.ask("INFO keyspace");
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_reached_through_a_unix_socket() {
    let redis = Redis::with(&["--unixsocket", "redis.sock"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = redis.folder().join("redis.sock");
    for url in [
        format!("redis+unix://{}", socket.display()),
        format!("redis+unix://{}?db=2", socket.display()),
    ] {
        let process = Arc::new(Process::start(folder.path(), &["--redis-url", &url]));
        assert_all_succeed(&process).await;
        stop(process);
    }
    let keyspace: String = redis.ask("INFO keyspace");
    assert!(keyspace.contains("db0:") && keyspace.contains("db2:"), "{keyspace}");
}

/// Asserts that the store is unavailable and that a log line about Redis contains one of `reasons`, in lower case.
async fn assert_refused(args: &[&str], reasons: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut all = vec!["--loglevel", "trace", "--timeout", "1"];
    all.extend(args);
    let process = Arc::new(Process::start(folder.path(), &all));
    assert_all_unavailable(&process, NO_TOKEN).await;
    let log = stop(process);
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" WARN ") && line.contains("Redis"))
        .collect();
    let names_reason = |line: &&str| reasons.iter().any(|reason| line.to_lowercase().contains(reason));
    assert!(lines.iter().any(names_reason), "{reasons:?}: {log}");
    assert!(!log.contains("sesame"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_redis_is_logged_with_its_reason() {
    let redis = start_with_user();
    let url = redis.url();
    assert_refused(
        &[
            "--redis-url",
            &url,
            "--redis-username",
            "sessions",
            "--redis-password",
            "wrongsesame",
        ],
        &["wrongpass"],
    )
    .await;
    assert_refused(
        &[
            "--redis-url",
            &url,
            "--redis-username",
            "unknown",
            "--redis-password",
            "opensesame",
        ],
        &["wrongpass"],
    )
    .await;
    assert_refused(
        &["--redis-url", "redis://no-such-host.invalid"],
        &["name", "address", "resol", "lookup"],
    )
    .await;
    assert_refused(&["--redis-url", "redis+unix:///no/such/socket"], &["no such file"]).await;
    let plain = Redis::running();
    assert_refused(
        &["--redis-url", &format!("{}/99", plain.url())],
        &["index is out of range"],
    )
    .await;
    let sentinel = ["--redis-mode", "sentinel", "--redis-url", &plain.url()];
    assert_refused(&sentinel, &["the server is not a sentinel"]).await;
    let found = check(&std::env::temp_dir(), &sentinel);
    let line = format!(
        "cannot check Redis: no sentinel gave the address of the master: 127.0.0.1:{} without TLS: the server is not a sentinel",
        plain.port()
    );
    assert_eq!(found.refusal(2), line);
}

#[test]
fn a_check_of_a_frozen_redis_ends_at_its_deadline() {
    let redis = redis_server::start(&[]).expect("a Redis");
    redis.freeze();
    let found = check(
        &std::env::temp_dir(),
        &["--redis-url", &redis.url(), "--timeout", "0.5"],
    );
    redis.thaw();
    let reason = format!(
        "cannot check Redis: cannot connect to 127.0.0.1:{} without TLS: no answer in time",
        redis.port
    );
    assert_eq!(found.refusal(2), reason);
}

#[test]
fn a_check_names_the_unreachable_address() {
    let refused = |url: &str| {
        let found = check(&std::env::temp_dir(), &["--redis-url", url]);
        found.refusal(2).to_owned()
    };
    // No server listens on port 1. The addresses of localhost differ between machines.
    let line = refused("redis://localhost:1");
    assert!(
        line.starts_with("cannot check Redis: cannot connect to localhost:1 without TLS: ")
            && line.to_lowercase().contains("127.0.0.1: connection refused"),
        "{line}"
    );
    let line = refused("redis://no-such-host.invalid");
    assert!(
        line.starts_with("cannot check Redis: cannot connect to no-such-host.invalid:6379 without TLS: "),
        "{line}"
    );
}
