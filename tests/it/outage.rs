//! Redis away, slow, restarted or unwilling: every request is answered within its deadline, nothing is applied twice, and
//! service goes on by itself.

mod away;
mod clocks;
mod cluster;
mod connections;
mod durable;
mod frozen;
mod hiccups;
mod nonsense;
mod password;
mod redis;
mod replicated;
mod sentinel;
mod tls;

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

/// The program's default for `--timeout`, and what a busy machine may add.
const DEADLINE: Duration = Duration::from_secs(2);
const MARGIN: Duration = Duration::from_secs(1);

/// The program on this Redis.
fn start(folder: &Path, redis: &Redis, args: &[&str]) -> Arc<Process> {
    let url = redis.url();
    let mut all = vec!["--redis-url", &url];
    all.extend(args);
    Arc::new(Process::start(folder, &all))
}

/// Ends it, which must work in any state of Redis, and answers all that it has logged.
fn stop(process: Arc<Process>) -> String {
    Arc::into_inner(process).expect("nobody else has it").stop()
}

/// Every request that needs the store.
fn requests(token: &str) -> Vec<(&'static str, String, &'static str)> {
    let path = |path: &str| format!("/test-app/{path}");
    vec![
        ("PUT", path("create/somebody?ip=10.0.0.1"), r#"{"a":1}"#),
        ("GET", path(&format!("get/{token}")), ""),
        ("POST", path(&format!("set/{token}")), r#"{"a":2}"#),
        ("GET", path("activity?dt=60"), ""),
        ("GET", path("soapp?dt=60"), ""),
        ("GET", path("soid/somebody"), ""),
        ("DELETE", path(&format!("kill/{token}")), ""),
        ("DELETE", path("killsoid/nobody"), ""),
        ("DELETE", "/empty-app/killall".into(), ""),
        ("GET", "/readyz".into(), ""),
    ]
}

/// Sends all of them at once; each must say within the deadline that the store is away.
async fn all_unavailable(process: &Arc<Process>, token: &str) {
    let requests = requests(token).into_iter().map(|(method, path, body)| {
        let process = process.clone();
        async move {
            let start = Instant::now();
            unavailable(&process.ask(method, &path, body).await);
            let took = start.elapsed();
            assert!(took < DEADLINE + MARGIN, "{method} {path} took {took:?}");
        }
    });
    side_by_side(100, requests).await;
    assert_eq!(
        process.ask("GET", "/livez", "").await.status,
        200,
        "the process itself is fine"
    );
}

fn unavailable(answer: &Answer) {
    answer.refused(503, "storeUnavailable", "The session store is not available");
    assert_eq!(answer.header("retry-after"), "1");
}

/// Waits until it serves again, which must be soon.
async fn back_soon(process: &Process) {
    let start = Instant::now();
    while process.ask("GET", "/readyz", "").await.status != 200 {
        assert!(
            start.elapsed() < Duration::from_secs(1) + MARGIN,
            "not back: {}",
            process.log()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every request succeeds.
async fn all_well(process: &Process) {
    let token = process.app().create("anybody").await;
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
