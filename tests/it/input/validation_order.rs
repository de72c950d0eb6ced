//! Tests of the order of validation: app, id or token, ip, ttl, d. The first failure determines the answer.

use reqwest::Method;

use super::server;
use crate::support::{Answer, NO_TOKEN, Server, raw};

/// Asserts the error of a request in which everything after the failing part is invalid too.
async fn refused(server: &Server, request: &str, body: &str, name: &str, message: &str) {
    eprintln!("{request} {body}");
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let method: Method = method.parse().expect("a method");
    let request = server.client().request(method, server.url(path)).body(body.to_owned());
    Answer::of(request).await.refused(400, name, message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_validates_app_id_ip_ttl_and_d_in_this_order() {
    let server = server().await;
    for (request, body, name, message) in [
        (
            "PUT /x/create/%00?ip=&ttl=1",
            "[1]",
            "invalidFormat",
            "Invalid app format",
        ),
        (
            "PUT /forum/create/%00?ip=&ttl=1",
            "[1]",
            "invalidFormat",
            "Invalid id format",
        ),
        (
            "PUT /forum/create/ann?ip=&ttl=1",
            "[1]",
            "missingParameter",
            "No ip supplied",
        ),
        (
            "PUT /forum/create/ann?ip=%00&ttl=1",
            "[1]",
            "invalidFormat",
            "Invalid ip format",
        ),
        (
            "PUT /forum/create/ann?ip=1&ttl=1",
            "[1]",
            "invalidValue",
            "ttl must be a positive integer >= 10",
        ),
        (
            "PUT /forum/create/ann?ip=1&ttl=1",
            "{",
            "invalidValue",
            "ttl must be a positive integer >= 10",
        ),
        (
            "PUT /forum/create/ann?ip=1&ttl=10",
            "{",
            "invalidJson",
            "The body is not valid JSON",
        ),
        (
            "PUT /forum/create/ann?ip=1&ttl=10",
            "[1]",
            "invalidValue",
            "d must be an object",
        ),
    ] {
        refused(&server, request, body, name, message).await;
    }
    assert!(server.app("forum").soid("ann").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_routes_validate_the_app_first() {
    let server = server().await;
    for (request, second) in [
        ("GET /{}/get/x", "Invalid token format"),
        ("POST /{}/set/x", "Invalid token format"),
        ("DELETE /{}/kill/x", "Invalid token format"),
        ("GET /{}/soid/%00", "Invalid id format"),
        ("DELETE /{}/killsoid/%00", "Invalid id format"),
    ] {
        refused(
            &server,
            &request.replace("{}", "x"),
            "[1]",
            "invalidFormat",
            "Invalid app format",
        )
        .await;
        refused(&server, &request.replace("{}", "forum"), "[1]", "invalidFormat", second).await;
    }
    for request in ["GET /{}/activity", "GET /{}/soapp"] {
        refused(
            &server,
            &request.replace("{}", "x"),
            "",
            "invalidFormat",
            "Invalid app format",
        )
        .await;
        let second = "dt must be a positive integer >= 10";
        refused(&server, &request.replace("{}", "forum"), "", "invalidValue", second).await;
    }
    for (query, message) in [
        ("dt=9&limit=0&cursor=0", "dt must be a positive integer >= 10"),
        ("dt=10&limit=0&cursor=0", "limit must be a positive integer"),
        ("dt=10&limit=1&cursor=0", "cursor must be one that soapp has answered"),
    ] {
        refused(
            &server,
            &format!("GET /forum/soapp?{query}"),
            "",
            "invalidValue",
            message,
        )
        .await;
    }
    let d = "d must be an object";
    refused(
        &server,
        &format!("POST /forum/set/{NO_TOKEN}"),
        "[1]",
        "invalidValue",
        d,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_headers_of_a_body_are_validated_last() {
    let server = server().await;
    // Each of these headers would be refused. The body never arrives.
    let body = "Content-Type: text/plain\r\nContent-Length: 99999999";
    for (request, message) in [
        ("PUT /x/create/ann?ip=1", "Invalid app format"),
        ("PUT /forum/create/%00?ip=1", "Invalid id format"),
        ("PUT /forum/create/ann?ip=%00", "Invalid ip format"),
        ("POST /forum/set/x", "Invalid token format"),
    ] {
        let request = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{body}\r\n\r\n");
        raw::exchange(&server, request)
            .await
            .refused(400, "invalidFormat", message);
    }
    let create = format!("PUT /forum/create/ann?ip=1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{body}\r\n\r\n");
    let answer = raw::exchange(&server, create).await;
    answer.refused(415, "unsupportedMediaType", "The body must be application/json");
}
