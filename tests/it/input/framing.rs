//! Tests of message framing: a request that two servers could delimit differently is refused (request smuggling), and
//! any other request leaves its connection usable.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server;
use crate::support::{Server, raw};

const WRONG: &str = "The request is not valid HTTP";

/// Sends `request`, and reads until the server closes the connection.
async fn send_and_read(server: &Server, request: &str) -> String {
    let mut stream = raw::connect(server.address).await;
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("answers");
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_exactly_one_valid_host_is_refused() {
    let server = server().await;
    for lines in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nX: y\r\nhost: \r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: http://a\r\n",
        "Host: user@a\r\n",
        "Host: a?\r\n",
        "Host: \u{fc}\r\n",
    ] {
        let (get, create) = ("GET /ping", "PUT /forum/create/ann?ip=::1");
        for line in [get, create, "GET /forum/auth", "HEAD /nowhere", "BREW /ping"] {
            let request = format!("{line} HTTP/1.1\r\n{lines}\r\n");
            let answer = raw::exchange(&server, request).await;
            assert_eq!(
                (answer.status, answer.header("connection")),
                (400, "close"),
                "{line} {lines:?}"
            );
            if !line.starts_with("HEAD") {
                answer.refused(400, "invalidRequest", WRONG);
            }
        }
    }
    // HTTP/1.0 does not require a Host.
    let old = send_and_read(&server, "GET /ping HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 ") && old.ends_with("PONG"), "{old}");
    let old = send_and_read(&server, "GET /ping HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 400 "), "{old}");
    for host in [
        "",
        "a",
        "a:80",
        "A_b.c-d~e",
        "[::1]:3000",
        "127.0.0.1",
        "xn--bcher-kva",
        "a%20b",
    ] {
        let request = format!("GET /ping HTTP/1.1\r\nHost:{host}\r\nConnection: close\r\n\r\n");
        assert_eq!(raw::exchange(&server, request).await.body, "PONG", "{host}");
    }
    assert!(server.app("forum").soid("ann").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_names_chunked_twice_is_refused() {
    let server = server().await;
    for lines in [
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: Chunked ,\tCHUNKED",
        "Transfer-Encoding: chunked, gzip, chunked",
    ] {
        let head = format!("PUT /forum/create/ann?ip=::1 HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n");
        let answer = raw::exchange(&server, head + "0\r\n\r\n").await;
        answer.refused(400, "invalidRequest", WRONG);
        assert_eq!(answer.header("connection"), "close");
        // Also on a route that does not read the body.
        let head = format!("GET /ping HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n0\r\n\r\n");
        raw::exchange(&server, head).await.refused(400, "invalidRequest", WRONG);
    }
    assert!(server.app("forum").soid("ann").await.is_empty());
}

/// The bytes after such a request may be its body or another request, so the server must not answer them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_answers_no_request_hidden_in_another() {
    let server = server().await;
    let hidden = "PUT /forum/create/hidden?ip=::1 HTTP/1.1\r\nHost: test\r\n\r\n";
    let chunks = format!("0\r\n\r\n{hidden}");
    for (lines, body) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", &*chunks),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", &chunks),
        ("Transfer-Encoding: chunked, identity", &chunks),
        ("Transfer-Encoding: xchunked", &chunks),
        ("Transfer-Encoding : chunked", &chunks),
        ("Transfer-Encoding:\x0bchunked", &chunks),
        ("X: y\r\n Transfer-Encoding: chunked", &chunks),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", &chunks),
        ("Content-Length: 0\r\nContent-Length: 9", hidden),
        ("Content-Length: 0, 0", hidden),
        ("Content-Length: +0", hidden),
        ("Content-Length: 0x0", hidden),
        ("Content-Length:", hidden),
        ("Transfer-Encoding: chunked", &format!("0x0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked", &format!("-0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked", &format!("0;a\nb\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked", &format!("2\r\n{{}}xx0\r\n\r\n{hidden}")),
        (
            "Transfer-Encoding: chunked",
            &format!("10000000000000000\r\n\r\n{hidden}"),
        ),
    ] {
        let first = "PUT /forum/create/ann?ip=::1 HTTP/1.1\r\nHost: test";
        let answers = send_and_read(&server, &format!("{first}\r\n{lines}\r\n\r\n{body}")).await;
        assert!(
            answers.matches("HTTP/1.1 ").count() <= 1,
            "{lines:?} {body:?}: {answers}"
        );
        assert!(
            server.app("forum").soid("hidden").await.is_empty(),
            "{lines:?} {body:?}"
        );
    }
}

/// The status of the answer to `request`, and whether the connection then served another request.
async fn status_and_reuse(server: &Server, request: &str) -> (u16, bool) {
    let again = "GET /ping HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let answers = send_and_read(server, &format!("{request}{again}")).await;
    let status = answers.get(9..12).and_then(|status| status.parse().ok());
    (status.expect("an answer"), answers.ends_with("PONG"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_body_leaves_the_connection_usable() {
    let server = server().await;
    let token = server.app("forum").create("ann").await;
    let (create, set) = (
        "PUT /forum/create/ann?ip=::1".to_owned(),
        format!("POST /forum/set/{token}"),
    );
    for (line, body, status) in [
        (&create, "7\r\n{\"k\":1}\r\n0\r\n\r\n", 200),
        (&set, "7\r\n{\"k\":1}\r\n0\r\n\r\n", 200),
        (&set, "3\r\n{\"k\r\n4\r\n\":1}\r\n0\r\nX-Trailer: 1\r\n\r\n", 200),
        (&create, "0\r\n\r\n", 200),
        // So do refused and unread bodies.
        (&set, "1\r\n{\r\n0\r\n\r\n", 400),
        (&"PUT /forum/create/ann?ip=".to_owned(), "2\r\n{}\r\n0\r\n\r\n", 400),
        (&"POST /nowhere".to_owned(), "2\r\n{}\r\n0\r\n\r\n", 404),
        (&"GET /ping".to_owned(), "2\r\n{}\r\n0\r\n\r\n", 200),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(
            status_and_reuse(&server, &(head + body)).await,
            (status, true),
            "{line} {body:?}"
        );
    }
    // Invalid chunks have no known end, so the server closes the connection.
    let head = format!("{create} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(status_and_reuse(&server, &(head + "zz\r\n")).await, (400, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closes_its_sending_side_gets_its_answer() {
    let server = server().await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    for (line, body, part) in [
        (format!("GET /forum/get/{token}"), "", r#""id":"ann""#),
        (format!("POST /forum/set/{token}"), r#"{"a":1}"#, r#""d":{"a":1}"#),
        ("PUT /forum/create/bob?ip=::1".into(), "", r#"{"token":""#),
        ("GET /forum/soapp?dt=100".into(), "", r#""id":"bob""#),
        (format!("DELETE /forum/kill/{token}"), "", r#"{"kill":1}"#),
        ("DELETE /forum/killall".into(), "", r#"{"kill":2}"#),
        ("GET /openapi.yaml".into(), "", "openapi: "),
    ] {
        for connection in ["close", "keep-alive"] {
            if connection == "keep-alive" && line.contains("kill") {
                continue;
            }
            let mut stream = raw::connect(server.address).await;
            let length = body.len();
            let request = format!(
                "{line} HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(request.as_bytes()).await.expect("the server reads");
            stream.shutdown().await.expect("one direction is closed");
            let answer = raw::read(stream).await;
            assert!(answer.status == 200 && answer.body.contains(part), "{line}: {answer:?}");
        }
    }
    // An incomplete request is not executed.
    for half in [
        "GET /ping HTTP/1.1\r\nHost: te",
        "PUT /forum/create/eve?ip=::1 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
    ] {
        let mut stream = raw::connect(server.address).await;
        stream.write_all(half.as_bytes()).await.expect("the server reads");
        stream.shutdown().await.expect("one direction is closed");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an end");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert!(app.soid("eve").await.is_empty());
}
