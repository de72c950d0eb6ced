//! Redis is unreachable, slow, restarted or refuses commands: every request is answered within its deadline, no change
//! is applied twice, and the service recovers by itself.

mod addresses;
mod clocks;
mod cluster;
mod cluster_failover;
mod durable;
mod frozen;
mod password;
mod redis;
mod replicated;
mod rights;
mod sentinel;
mod sentinel_nodes;
mod settings;
mod tls;
mod transient;
mod unreachable;
mod unusable_replies;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use self::redis::Redis;
use crate::{
    process::Process,
    support::{Answer, side_by_side},
};

/// The default of `--timeout`.
const DEADLINE: Duration = Duration::from_secs(2);
/// Allowance for a busy machine.
const MARGIN: Duration = Duration::from_secs(1);

/// Starts the service on this Redis.
fn start(folder: &Path, redis: &Redis, args: &[&str]) -> Arc<Process> {
    let url = redis.url();
    let mut all = vec!["--redis-url", &url];
    all.extend(args);
    Arc::new(Process::start(folder, &all))
}

/// Shuts the service down, which must work in any state of Redis; returns its log.
fn stop(process: Arc<Process>) -> String {
    Arc::into_inner(process).expect("the last reference").stop()
}

/// One request to each route that needs the store: method, path and body.
fn requests(token: &str) -> Vec<(&'static str, String, &'static str)> {
    let path = |path: &str| format!("/test-app/{path}");
    vec![
        ("PUT", path("create/ann?ip=10.0.0.1"), r#"{"a":1}"#),
        ("GET", path(&format!("get/{token}")), ""),
        ("POST", path(&format!("set/{token}")), r#"{"a":2}"#),
        ("GET", path("activity?dt=60"), ""),
        ("GET", path("soapp?dt=60"), ""),
        ("GET", path("soid/ann"), ""),
        ("DELETE", path(&format!("kill/{token}")), ""),
        ("DELETE", path("killsoid/unknown"), ""),
        ("DELETE", "/empty-app/killall".into(), ""),
        ("GET", "/readyz".into(), ""),
    ]
}

/// Sends all requests at once and asserts that each is answered `storeUnavailable` within the deadline.
async fn assert_all_unavailable(process: &Arc<Process>, token: &str) {
    let requests = requests(token).into_iter().map(|(method, path, body)| {
        let process = process.clone();
        async move {
            let start = Instant::now();
            assert_unavailable(&process.ask(method, &path, body).await);
            let took = start.elapsed();
            assert!(took < DEADLINE + MARGIN, "{method} {path} took {took:?}");
        }
    });
    side_by_side(100, requests).await;
    assert_eq!(
        process.ask("GET", "/livez", "").await.status,
        200,
        "the process is alive"
    );
}

fn assert_unavailable(answer: &Answer) {
    answer.refused(503, "storeUnavailable", "The session store is not available");
    assert_eq!(answer.header("retry-after"), "1");
}

/// Waits until the service is ready again; fails if that takes long.
async fn await_recovery(process: &Process) {
    let start = Instant::now();
    while process.ask("GET", "/readyz", "").await.status != 200 {
        assert!(
            start.elapsed() < Duration::from_secs(1) + MARGIN,
            "not recovered: {}",
            process.log()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends all requests and asserts that each succeeds.
async fn assert_all_succeed(process: &Process) {
    let token = process.app().create("ben").await;
    for (method, path, body) in requests(&token) {
        let answer = process.ask(method, &path, body).await;
        assert_eq!(
            answer.status,
            200,
            "{method} {path}: {}; {}",
            answer.body,
            process.log()
        );
    }
}
