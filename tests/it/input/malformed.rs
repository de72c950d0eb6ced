//! What is no HTTP gets an answer all the same, from a layer below ours: the status, and nothing of what was sent.

use super::server;
use crate::support::raw;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_answered_with_400() {
    let server = server().await;
    for request in [
        &b"GARBAGE\r\n\r\n"[..],
        b"GET /ping\r\n\r\n",
        b"GET /ping HTTP/3.0\r\nHost: test\r\n\r\n",
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
        assert_eq!(answer.status, 400);
        assert!(
            answer.body.is_empty() || answer.body.starts_with(r#"{"name":""#),
            "{answer:?}"
        );
    }
    // And whoever speaks HTTP is served.
    assert_eq!(raw::request(&server, "GET /ping").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_end_is_answered_with_431() {
    let server = server().await;
    // As many bytes as the server takes, so that it has read them all when it answers.
    let mut request = "GET /ping HTTP/1.1\r\nHost: test\r\nX-Long: ".to_owned();
    request += &"x".repeat((64 << 10) - request.len());
    let answer = raw::exchange(&server, request).await;
    assert_eq!(answer.status, 431);
    assert!(
        answer.body.is_empty() || answer.body.starts_with(r#"{"name":""#),
        "{answer:?}"
    );
}
