//! What the log says, and what it never says.

use std::collections::HashSet;

use super::Wire;
use crate::{
    process::Process,
    support::{json, redis_server},
};

fn warnings(host: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Process::start(folder.path(), &["--host", host]).stop();
    log.lines()
        .filter(|line| line.contains(" WARN "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn listening_beyond_loopback_is_warned_of() {
    let warnings = warnings("0.0.0.0");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("0.0.0.0") && warnings[0].contains("beyond this machine"),
        "{warnings:?}"
    );
}

#[test]
fn listening_on_loopback_is_not() {
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(warnings(host), Vec::<String>::new(), "{host}");
    }
}

/// Every route, well and badly used, at the finest level: no token may be in the log.
async fn no_token(store: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut args = vec!["--loglevel", "trace", "--wipe", "10"];
    args.extend(store);
    let process = Process::start(folder.path(), &args);
    let app = process.app();
    let mut tokens = HashSet::new();
    for n in 0..3 {
        tokens.insert(app.create_with(&format!("user-{n}"), "ttl=1000", r#"{"a":1}"#).await);
    }
    for token in tokens.clone() {
        app.get(&token).await.expect("it is there");
        app.set(&token, r#"{"a":2,"b":null}"#).await.expect("it is there");
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
        // What breaks off or makes no sense comes from below the routes.
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
    assert!(answered > 40, "hardly anything was logged: {log}");
    for token in tokens {
        // Half of it would be too much as well.
        for part in [&token[..32], &token[32..]] {
            assert!(!log.contains(part) && !metrics.contains(part), "{log}");
        }
    }
}

#[tokio::test]
async fn no_token_is_logged_with_the_embedded_store() {
    no_token(&[]).await;
}

#[tokio::test]
async fn no_token_is_logged_with_redis() {
    no_token(&[
        "--redis-url",
        &redis_server::url(),
        "--namespace",
        &redis_server::fresh_namespace(),
    ])
    .await;
}

#[tokio::test]
async fn each_request_has_a_line_at_debug() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &["--loglevel", "debug", "--log-format", "json"]);
    process.app().create("somebody").await;
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
