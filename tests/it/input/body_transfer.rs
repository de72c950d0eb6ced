//! Tests of the transfer of a body: its content type, encoding, size and chunks, and the deadline for its arrival.

use std::time::Duration;

use reqwest::Method;
use rest_sessions::config::DurationArg;
use tokio::io::AsyncWriteExt;

use super::server;
use crate::support::{Answer, NO_TOKEN, Server, Store, raw};

const TOO_LARGE: &str = "The body, and d as stored, may have at most 60000 bytes";

/// Sends a create with these headers and this body.
async fn create(server: &Server, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
    let mut request = server
        .app("forum")
        .request(Method::PUT, "/create/ann?ip=127.0.0.1")
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request).await
}

/// The head of a create, to which a test appends a body.
fn head(headers: &str) -> String {
    format!("PUT /forum/create/ann?ip=::1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_must_have_a_json_content_type() {
    let server = server().await;
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "APPLICATION/JSON; Charset=\"utf-8\"",
        "application/json ; charset=utf8 ; profile=x",
        "application/vnd.api+json",
    ] {
        create(&server, &[("content-type", content_type)], r#"{"a":1}"#)
            .await
            .ok();
    }
    create(&server, &[], r#"{"a":1}"#).await.ok();
    for content_type in [
        "text/plain",
        "text/json",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/jsonp",
        "application/",
        "json",
        "application/json; charset=latin1",
        "application/json; charset=utf-16",
        "application/json; charset=\"iso-8859-1\"",
        "\u{e9}",
    ] {
        eprintln!("{content_type}");
        let answer = create(&server, &[("content-type", content_type)], r#"{"a":1}"#).await;
        answer.refused(415, "unsupportedMediaType", "The body must be application/json");
        let set = server.app("forum").request(Method::POST, &format!("/set/{NO_TOKEN}"));
        let answer = Answer::of(set.header("content-type", content_type).body(r#"{"a":1}"#)).await;
        answer.refused(415, "unsupportedMediaType", "The body must be application/json");
    }
    assert_eq!(server.app("forum").soid("ann").await.len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_content_type_of_an_empty_body_is_ignored() {
    let server = server().await;
    create(&server, &[("content-type", "text/plain")], "").await.ok();
    raw::exchange(&server, head("Content-Type: text/plain\r\n")).await.ok();
    raw::exchange(&server, head("Content-Type: text/plain\r\nContent-Length: 0\r\n"))
        .await
        .ok();
    let get = server
        .app("forum")
        .request(Method::GET, "/soid/ann")
        .header("content-type", "text/plain");
    Answer::of(get).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_with_a_content_encoding_is_refused() {
    let server = server().await;
    create(&server, &[("content-encoding", "identity")], r#"{"a":1}"#)
        .await
        .ok();
    for coding in ["gzip", "br", "deflate", "zstd", "x-gzip", "identity, gzip"] {
        let answer = create(&server, &[("content-encoding", coding)], r#"{"a":1}"#).await;
        answer.refused(415, "unsupportedMediaType", "The body must be application/json");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_has_at_most_60000_bytes_white_space_included() {
    let server = server().await;
    let padded = |bytes: usize| format!("{:bytes$}", r#"{"a":1}"#);
    create(&server, &[], padded(60_000)).await.ok();
    create(&server, &[], padded(60_001))
        .await
        .refused(413, "tooLarge", TOO_LARGE);
    assert_eq!(server.app("forum").soid("ann").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_body_is_accepted() {
    let server = server().await;
    // A chunk ends within a character, and there are a chunk extension and a trailer.
    let body = b"4;x=y\r\n{\"a\"\r\n4\r\n:\"\xed\x95\r\n3\r\n\x9c\"}\r\n0\r\nX-Trailer: 1\r\n\r\n";
    let mut request = head("Transfer-Encoding: chunked\r\n").into_bytes();
    request.extend(body);
    raw::exchange(&server, request).await.ok();
    raw::exchange(&server, head("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n")
        .await
        .ok();
    let mut data: Vec<_> = server
        .app("forum")
        .soid("ann")
        .await
        .iter()
        .map(|session| session.d().to_owned())
        .collect();
    data.sort_unstable();
    assert_eq!(data, ["", r#"{"a":"한"}"#]);
    let broken = raw::exchange(
        &server,
        head("Transfer-Encoding: chunked\r\n") + "zz\r\n{}\r\n0\r\n\r\n",
    )
    .await;
    broken.refused(400, "invalidJson", "The body is not valid JSON");
    // An encoded transfer is refused like a Content-Encoding.
    raw::exchange(
        &server,
        head("Transfer-Encoding: gzip, chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n",
    )
    .await
    .refused(415, "unsupportedMediaType", "The body must be application/json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_body_has_the_same_size_limit() {
    let server = server().await;
    let chunked = |bytes: usize| {
        let body = format!("{:bytes$}", r#"{"a":1}"#);
        let (one, other) = body.split_at(30_000);
        let chunks = [one, other]
            .map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()))
            .concat();
        head("Transfer-Encoding: chunked\r\n") + &chunks + "0\r\n\r\n"
    };
    raw::exchange(&server, chunked(60_000)).await.ok();
    raw::exchange(&server, chunked(60_001))
        .await
        .refused(413, "tooLarge", TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_is_refused_before_it_is_sent() {
    let server = server().await;
    // The client waits for the server before it sends the body, and must get the refusal instead of `100 Continue`.
    let waits = head("Content-Length: 60001\r\nExpect: 100-continue\r\n");
    raw::exchange(&server, waits).await.refused(413, "tooLarge", TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_far_too_much_gets_the_refusal() {
    let server = server().await;
    // Simple clients send the whole body before they read the answer. Meanwhile the server must not reset the
    // connection.
    for megabytes in [1, 4] {
        for _ in 0..10 {
            let answer = create(&server, &[], vec![b' '; megabytes << 20]).await;
            answer.refused(413, "tooLarge", TOO_LARGE);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_expects_100_continue_gets_it() {
    let server = server().await;
    let mut stream = raw::connect(server.address).await;
    let head = head("Content-Length: 7\r\nExpect: 100-continue\r\n");
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    let mut interim = [0; 25];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut interim)
        .await
        .expect("an answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(br#"{"a":1}"#).await.expect("the server reads");
    raw::read(stream).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_is_answered_with_408() {
    let short = |config: &mut rest_sessions::config::Config| config.timeout = DurationArg(Duration::from_millis(200));
    let server = Server::start_with(Store::Embedded, short).await;
    for body in [
        "Content-Length: 7\r\n\r\n{\"a\"",
        "Transfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n",
    ] {
        let mut stream = raw::connect(server.address).await;
        let head = "PUT /forum/create/ann?ip=::1 HTTP/1.1\r\nHost: test\r\n";
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .expect("the server reads");
        // The server closes the connection, since the rest of the body would be read as the next request.
        let answer = raw::read(stream).await;
        answer.refused(408, "requestTimeout", "The body did not arrive in time");
        assert_eq!(answer.header("connection"), "close");
    }
    assert_eq!(server.metric("rest_sessions_created_total").await, 0);
}
