//! Tests of routing: the paths and methods that exist, and the answers to all others.

use reqwest::Method;

use super::server;
use crate::support::{Answer, NO_TOKEN, Server, raw};

const METHODS: [&str; 8] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "BREW"];

/// Every route with its methods. Each route with GET has HEAD too.
fn routes() -> Vec<(String, &'static [&'static str])> {
    vec![
        ("/forum/create/ann".into(), &["PUT"]),
        (format!("/forum/get/{NO_TOKEN}"), &["GET", "HEAD"]),
        (format!("/forum/set/{NO_TOKEN}"), &["POST"]),
        ("/forum/activity".into(), &["GET", "HEAD"]),
        ("/forum/soapp".into(), &["GET", "HEAD"]),
        ("/forum/soid/ann".into(), &["GET", "HEAD"]),
        (format!("/forum/kill/{NO_TOKEN}"), &["DELETE"]),
        ("/forum/killsoid/ann".into(), &["DELETE"]),
        ("/forum/killall".into(), &["DELETE"]),
        ("/ping".into(), &["GET", "HEAD"]),
        ("/livez".into(), &["GET", "HEAD"]),
        ("/readyz".into(), &["GET", "HEAD"]),
        ("/metrics".into(), &["GET", "HEAD"]),
        ("/openapi.yaml".into(), &["GET", "HEAD"]),
    ]
}

async fn send(server: &Server, method: &str, path: &str) -> Answer {
    eprintln!("{method} {path}");
    raw::request(server, &format!("{method} {path}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_405_lists_the_methods_of_the_route() {
    let server = server().await;
    for (path, allowed) in routes() {
        for method in METHODS.iter().filter(|method| !allowed.contains(method)) {
            let answer = send(&server, method, &path).await;
            let mut allow: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
            allow.sort_unstable();
            assert_eq!(allow, allowed);
            if *method == "HEAD" {
                assert_eq!((answer.status, answer.body.as_str()), (405, ""));
            } else {
                answer.refused(405, "methodNotAllowed", "The route does not have this method");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_path_is_not_found() {
    let server = server().await;
    let paths = [
        "/",
        "//",
        "/forum",
        "/forum/",
        "/forum/nope",
        "/forum/create",
        "/forum/create/",
        "/forum/create//",
        "/forum/get",
        "/forum/get/",
        "/forum/soid/",
        "/forum//soid/ann",
        "//forum/soid/ann",
        "/forum/soid//ann",
        "/forum/soid/ann//",
        "/forum/soid/a/b",
        "/forum/killall/now",
        "/forum/activity/10",
        "/forum/GET/ann",
        "/forum/Soid/ann",
        "/PING",
        "/ping/pong",
        "/Metrics",
        "/readyz/x",
        "/openapi.json",
        "/favicon.ico",
        "/forum/../ping",
        "/%70ing",
        "/forum%2Fsoid/ann",
        "*",
    ];
    for path in paths {
        for method in METHODS {
            let answer = send(&server, method, path).await;
            if method == "HEAD" {
                assert_eq!((answer.status, answer.body.as_str()), (404, ""));
            } else {
                answer.refused(404, "notFound", "No such route");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trailing_slash_is_tolerated() {
    let server = server().await;
    let token = server.app("forum").create("ann").await;
    for (method, path, query) in [
        ("PUT", "/forum/create/ann".to_owned(), "?ip=::1"),
        ("GET", format!("/forum/get/{token}"), ""),
        ("GET", "/forum/activity".into(), "?dt=10"),
        ("GET", "/forum/soapp".into(), "?dt=10&x=/"),
        ("GET", "/forum/soid/ann".into(), ""),
        ("DELETE", format!("/forum/kill/{token}"), ""),
        ("DELETE", "/forum/killsoid/ann".into(), ""),
        ("DELETE", "/forum/killall".into(), ""),
    ] {
        send(&server, method, &format!("{path}/{query}")).await.ok();
        send(&server, method, &format!("{path}//{query}"))
            .await
            .refused(404, "notFound", "No such route");
    }
    let set = server
        .client()
        .post(server.url(&format!("/forum/set/{token}/")))
        .body(r#"{"a":1}"#);
    assert_eq!(Answer::of(set).await.ok(), "{}");
    for path in ["/ping/", "/livez/", "/readyz/", "/metrics/", "/openapi.yaml/"] {
        assert_eq!(send(&server, "GET", path).await.status, 200);
    }
    // An escaped slash belongs to the id.
    assert_eq!(send(&server, "PUT", "/forum/create/ann%2F?ip=::1").await.status, 200);
    assert_eq!(server.app("forum").soid("ann/").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_answers_like_get_without_the_body() {
    let server = server().await;
    server.app("forum").create("ann").await;
    for path in [
        "/forum/soid/ann",
        "/forum/soapp?dt=10",
        "/forum/activity?dt=10",
        "/ping",
        "/readyz",
        "/openapi.yaml",
    ] {
        let [get, head] = [send(&server, "GET", path).await, send(&server, "HEAD", path).await];
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        for name in ["content-type", "content-length", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
            assert!(!get.header(name).is_empty(), "{name}");
        }
    }
    let refused = send(&server, "HEAD", "/x/soid/ann").await;
    assert_eq!((refused.status, refused.body.as_str()), (400, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_global_routes_answer() {
    let server = server().await;
    let ping = Answer::of(server.client().get(server.url("/ping"))).await;
    assert_eq!((ping.status, ping.body.as_str()), (200, "PONG"));
    for path in ["/ping", "/livez", "/readyz", "/metrics", "/openapi.yaml"] {
        let answer = Answer::of(server.client().request(Method::GET, server.url(path))).await;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, "no-store"),
            "{path}"
        );
        assert!(!answer.body.is_empty(), "{path}");
    }
}
