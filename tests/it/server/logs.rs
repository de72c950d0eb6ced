//! Log lines, and the absence of tokens in them.

use std::collections::HashSet;

use super::Wire;
use crate::{
    process::Process,
    support::{json, redis_server},
};

fn warnings(host: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = Process::start(folder.path(), &["--host", host]).stop();
    log.lines()
        .filter(|line| line.contains(" WARN "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn listening_beyond_loopback_logs_a_warning() {
    let warnings = warnings("0.0.0.0");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("0.0.0.0") && warnings[0].contains("reachable from other machines"),
        "{warnings:?}"
    );
}

#[test]
fn listening_on_loopback_logs_no_warning() {
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(warnings(host), Vec::<String>::new(), "{host}");
    }
}

/// Sends valid and invalid requests to every route at log level trace; asserts that log and metrics hold no token.
async fn assert_no_token_logged(store: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut args = vec!["--loglevel", "trace", "--wipe", "10"];
    args.extend(store);
    let process = Process::start(folder.path(), &args);
    let app = process.app();
    let mut tokens = HashSet::new();
    for n in 0..3 {
        tokens.insert(app.create_with(&format!("user-{n}"), "ttl=1000", r#"{"a":1}"#).await);
    }
    for token in tokens.clone() {
        app.get(&token).await.expect("an existing session");
        app.set(&token, r#"{"a":2,"b":null}"#)
            .await
            .expect("an existing session");
        app.try_set(&token, "{").await;
        app.try_set(&token, r#"{"a":[]}"#).await;
        app.try_set(&token, format!(r#"{{"a":"{}"}}"#, "x".repeat(61_000)))
            .await;
        for (method, path) in [
            ("PATCH", format!("/test-app/get/{token}")),
            ("GET", format!("/test-app/get/{token}x")),
            ("GET", format!("/test-app/get/{token}/")),
            ("GET", format!("/test-app/get/%{token}")),
            ("GET", format!("/{token}/get/{token}")),
            ("GET", format!("/test-app/soid/{token}")),
            ("GET", format!("/test-app/activity?dt={token}")),
            ("PUT", format!("/test-app/create/x?ip={token}&ttl={token}")),
            ("GET", format!("/{token}")),
        ] {
            let answer = process.ask(method, &path, "").await;
            assert!(
                answer.status != 500 && !(answer.status >= 400 && answer.body.contains(&token)),
                "{answer:?}"
            );
        }
        // Truncated and malformed requests fail below the router.
        let mut wire = Wire::connect(process.address()).await;
        wire.send(&format!(
            "POST /test-app/set/{token} HTTP/1.1\r\nHost: test\r\nContent-Length: 99\r\n\r\n{{"
        ))
        .await;
        drop(wire);
        let mut wire = Wire::connect(process.address()).await;
        wire.send(&format!("GET /test-app/get/{token} HTTP/1.1\r\nBad {token}\r\n\r\n"))
            .await;
        drop(wire);
    }
    app.activity(60).await;
    app.soapp(60).await;
    app.soid("user-0").await;
    let victim = tokens.iter().next().expect("three").clone();
    assert_eq!(app.kill(&victim).await, 1);
    app.killsoid("user-1").await;
    app.killall().await;
    assert!(app.get(&victim).await.is_none());
    process.ask("GET", "/readyz", "").await;
    let metrics = process.ask("GET", "/metrics", "").await.body;
    let log = process.stop();
    let answered = log.lines().filter(|line| line.contains("answered")).count();
    assert!(answered > 40, "only {answered} answers were logged: {log}");
    for token in tokens {
        // Not even half of a token may appear.
        for part in [&token[..32], &token[32..]] {
            assert!(!log.contains(part) && !metrics.contains(part), "{log}");
        }
    }
}

#[tokio::test]
async fn no_token_is_logged_with_the_embedded_store() {
    assert_no_token_logged(&[]).await;
}

#[tokio::test]
async fn no_token_is_logged_with_redis() {
    assert_no_token_logged(&[
        "--redis-url",
        &redis_server::url(),
        "--namespace",
        &redis_server::fresh_namespace(),
    ])
    .await;
}

#[tokio::test]
async fn each_request_is_logged_at_level_debug() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &["--loglevel", "debug", "--log-format", "json"]);
    process.app().create("ann").await;
    process.ask("GET", "/test-app/activity?dt=1", "").await;
    process.ask("GET", "/nowhere", "").await;
    let log = process.stop();
    let lines = log.lines().map(json).filter(|line| line["message"] == "answered");
    let lines: Vec<_> = lines
        .map(|line| (line["route"].clone(), line["method"].clone(), line["status"].clone()))
        .collect();
    let expected = [
        ("/{app}/create/{id}", "PUT", 200),
        ("/{app}/activity", "GET", 400),
        ("unmatched", "GET", 404),
    ];
    assert_eq!(
        lines,
        expected.map(|(route, method, status)| (route.into(), method.into(), status.into()))
    );
}
