//! Tests with heads that are not valid HTTP: the answer is a JSON error like any other, and repeats nothing of the
//! head.

use tokio::io::AsyncWriteExt;

use super::server;
use crate::support::{Server, raw};

const WRONG: &str = "The request is not valid HTTP";
const TOO_LARGE: &str = "The head of the request is too large";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_head_is_answered_with_400() {
    let server = server().await;
    for request in [
        &b"GARBAGE\r\n\r\n"[..],
        b"GET /ping\r\n\r\n",
        b"GET /ping HTTP/3.0\r\nHost: test\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET /pi ng HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: te\x01st\r\n\r\n",
        b"GET /forum/soid/a\x01 HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /forum/soid/a\xff HTTP/1.1\r\nHost: test\r\n\r\n",
        b"G\x01T /ping HTTP/1.1\r\nHost: test\r\n\r\n",
        b"PUT /forum/create/ann?ip=::1 HTTP/1.1\r\nHost: test\r\nContent-Length: x\r\n\r\n",
        b"PUT /forum/create/ann?ip=::1 HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ] {
        eprintln!("{}", String::from_utf8_lossy(request));
        let answer = raw::exchange(&server, request).await;
        answer.refused(400, "invalidRequest", WRONG);
        assert_eq!(answer.header("connection"), "close");
        assert!(!answer.header("date").is_empty());
    }
    // The server still serves valid requests.
    assert_eq!(raw::request(&server, "GET /ping").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_answered_with_431() {
    let server = server().await;
    // As many bytes as the server buffers, and many more than it reads before it answers.
    for bytes in [64 << 10, 200 << 10, 2 << 20] {
        for start in ["GET /ping HTTP/1.1\r\nHost: test\r\nX-Long: ", "GET /forum/get/"] {
            let request = start.to_owned() + &"x".repeat(bytes - start.len());
            let answer = raw::exchange(&server, request).await;
            answer.refused(431, "headTooLarge", TOO_LARGE);
            assert_eq!(answer.header("connection"), "close");
        }
    }
}

/// The status of a request with `count` headers besides `Host` and `Connection`.
async fn with_headers(server: &Server, count: usize) -> u16 {
    let headers: Vec<_> = (0..count).map(|n| format!("X-Header-{n}: value\r\n")).collect();
    let headers = headers.concat();
    let request = format!("GET /ping HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    let answer = raw::exchange(server, request).await;
    if answer.status != 200 {
        answer.refused(431, "headTooLarge", TOO_LARGE);
    }
    answer.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_to_446_further_headers_are_served() {
    let server = server().await;
    for (count, status) in [(90, 200), (110, 200), (256, 200), (446, 200), (447, 431), (2000, 431)] {
        assert_eq!(with_headers(&server, count).await, status, "{count}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_before_an_invalid_head_are_complete() {
    let server = server().await;
    let mut stream = raw::connect(server.address).await;
    let ping = "GET /openapi.yaml HTTP/1.1\r\nHost: test\r\n\r\n";
    let requests = ping.repeat(5) + "GARBAGE\r\n\r\n";
    stream.write_all(requests.as_bytes()).await.expect("the server reads");
    let mut answers = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answers)
        .await
        .expect("answers");
    let contract = include_str!("../../../openapi.yaml");
    assert_eq!(answers.matches(contract).count(), 5);
    let last = answers.rsplit("\r\n\r\n").next().expect("a body");
    assert_eq!(last, format!(r#"{{"name":"invalidRequest","message":"{WRONG}"}}"#));
    assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1);
}
