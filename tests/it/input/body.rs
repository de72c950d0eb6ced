//! Tests of the content of a body: the JSON that is accepted, and the error for everything else.

use reqwest::Method;

use super::server;
use crate::support::{Answer, App, Server};

const NOT_JSON: &str = "The body is not valid JSON";

async fn create(app: &App, body: impl Into<reqwest::Body>) -> Answer {
    Answer::of(app.request(Method::PUT, "/create/ann?ip=127.0.0.1").body(body)).await
}

/// An app, and the token of a session with data in it.
async fn app_and_token(server: &Server) -> (App, String) {
    let app = server.app("forum");
    let token = app.create_with("bob", "", r#"{"old":1}"#).await;
    (app, token)
}

/// Asserts that both routes that take a body refuse each of these, and that nothing changes.
async fn assert_both_refuse(server: &Server, bodies: &[&[u8]], name: &str, message: &str) {
    let (app, token) = app_and_token(server).await;
    for body in bodies {
        eprintln!("{}", String::from_utf8_lossy(body));
        create(&app, body.to_vec()).await.refused(400, name, message);
        let set = app.request(Method::POST, &format!("/set/{token}")).body(body.to_vec());
        Answer::of(set).await.refused(400, name, message);
    }
    assert!(app.soid("ann").await.is_empty());
    let session = app.get(&token).await.expect("alive");
    assert_eq!((session.w, session.d()), (1, r#"{"old":1}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_accepts_a_body_without_data() {
    let server = server().await;
    let app = server.app("forum");
    // PHP encodes an empty map as `[]`, Java an absent one as `null`.
    for body in [
        "", "\r{\t}\n", "{}", " { } ", "[]", "[ ]", "\n[\t]\n", "null", " null\n",
    ] {
        create(&app, body).await.ok();
    }
    let sessions = app.soid("ann").await;
    assert_eq!(sessions.len(), 9);
    assert!(sessions.iter().all(|session| session.d().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_requires_a_key() {
    let server = server().await;
    let (app, token) = app_and_token(&server).await;
    for body in ["", "{}", "\n{ }"] {
        app.try_set(&token, body)
            .await
            .refused(400, "invalidValue", "d must contain at least one key.");
    }
    for body in ["[]", "[ ]", "null"] {
        app.try_set(&token, body)
            .await
            .refused(400, "invalidValue", "d must be an object");
    }
    let session = app.get(&token).await.expect("alive");
    assert_eq!((session.w, session.d()), (1, r#"{"old":1}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_json_is_refused() {
    let bodies: [&[u8]; 44] = [
        // White space is not an empty body, and a form feed is not white space in JSON.
        b" ",
        b"\r\n\t",
        b"\x0c",
        b"\x0c[]\x0c",
        b"{",
        b"}",
        b"{]",
        b"[",
        b"[}",
        b"a",
        b"nope",
        b"True",
        b"a=1&b=2",
        b"<a/>",
        b"'a'",
        b"\"",
        b"{a:1}",
        b"{'a':1}",
        b"{\"a\"}",
        b"{\"a\":}",
        b"{\"a\":1,}",
        b"{,\"a\":1}",
        b"{\"a\":1 \"b\":2}",
        b"{\"a\":1}}",
        b"{\"a\":1}{\"b\":2}",
        b"{\"a\":1} x",
        b"{\"a\":1}\0",
        b"{\"a\":01}",
        b"{\"a\":+1}",
        b"{\"a\":.5}",
        b"{\"a\":1.}",
        b"{\"a\":NaN}",
        b"{\"a\":Infinity}",
        b"{\"a\":undefined}",
        b"{\"a\":\"\n\"}",
        b"{\"a\":\"\\x\"}",
        // Lone surrogates: PHP and other parsers refuse a whole document that contains one.
        b"{\"a\":\"\\ud800\"}",
        b"{\"a\":\"\\udc00\\ud800\"}",
        b"{\"\\ud800\":1}",
        b"{\"a\":1} // comment",
        // Misplaced byte order marks, one of another encoding, and a byte that is not UTF-8.
        b"\xef\xbb\xbf\xef\xbb\xbf{\"a\":1}",
        b" \xef\xbb\xbf{\"a\":1}",
        b"\xfe\xff\0{\0}",
        b"{\"a\":\"\xff\"}",
    ];
    assert_both_refuse(&server().await, &bodies, "invalidJson", NOT_JSON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_an_object_is_refused() {
    let bodies: [&[u8]; 10] = [
        b"true",
        b"1",
        b"-1.5e3",
        b"\"text\"",
        b"\"{}\"",
        b"[1]",
        b"[{}]",
        b"[[]]",
        b" [null] ",
        b"[{\"a\":1}]",
    ];
    assert_both_refuse(&server().await, &bodies, "invalidValue", "d must be an object").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_an_array_or_an_object_is_refused() {
    let server = server().await;
    for (body, key) in [
        (r#"{"a":[]}"#, "a"),
        (r#"{"a":{}}"#, "a"),
        (r#"{"a":[1]}"#, "a"),
        (r#"{"a": {"b":1}}"#, "a"),
        (r#"{"a":1,"b":[],"c":{}}"#, "b"),
        (r#"{"":[]}"#, ""),
        (r#"{"a\"b":[]}"#, "a\"b"),
        (r#"{"\ud83d\ude00":[]}"#, "😀"),
        (r#"{"old":null,"x y":[]}"#, "x y"),
    ] {
        let message = format!("d.{key} has a forbidden type. Only strings, numbers, boolean and null are allowed.");
        assert_both_refuse(&server, &[body.as_bytes()], "invalidValue", &message).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_order_mark_is_skipped() {
    let server = server().await;
    let (app, token) = app_and_token(&server).await;
    for (body, d) in [
        ("\u{feff}{\"a\":1}", r#"{"a":1}"#),
        ("\u{feff} {\"a\":\"\u{feff}\"}", "{\"a\":\"\u{feff}\"}"),
        ("\u{feff}", ""),
        ("\u{feff}{}", ""),
        ("\u{feff}[]", ""),
        ("\u{feff}null", ""),
    ] {
        create(&app, body).await.ok();
        let sessions = app.soid("ann").await;
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].d(), d, "{body:?}");
        app.killsoid("ann").await;
    }
    let session = app.set(&token, "\u{feff}{\"old\":2}").await.expect("alive");
    assert_eq!(session.d(), r#"{"old":2}"#);
    let none = app.try_set(&token, "\u{feff}").await;
    none.refused(400, "invalidValue", "d must contain at least one key.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_beyond_a_double_is_refused() {
    let server = server().await;
    let digits = "9".repeat(309);
    for number in [
        "1e999",
        "-1e999",
        "1E+309",
        "1.8e308",
        "-0.1e400",
        &digits,
        &format!("-{digits}.5"),
    ] {
        let body = format!(r#"{{"a":1,"b":{number}}}"#);
        assert_both_refuse(
            &server,
            &[body.as_bytes()],
            "invalidValue",
            "d.b is beyond the numbers of a double.",
        )
        .await;
    }
    let app = server.app("forum");
    // Accepted: the largest double, numbers that round to zero, more digits than a double has, and a string.
    for number in [
        "1.7976931348623157e308",
        "-1e308",
        "1e-999",
        "0e999",
        "18446744073709551616",
        &"9".repeat(308),
        &"1".repeat(300),
        r#""1e999""#,
    ] {
        let d = format!(r#"{{"n":{number}}}"#);
        let token = app.create_with("eve", "", &d).await;
        assert_eq!(app.get(&token).await.expect("alive").d(), d);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_nesting_is_refused() {
    let server = server().await;
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    assert_both_refuse(&server, &[deep.as_bytes()], "invalidValue", "d must be an object").await;
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(29_000), "]".repeat(29_000));
    let message = "d.a has a forbidden type. Only strings, numbers, boolean and null are allowed.";
    assert_both_refuse(&server, &[deep.as_bytes()], "invalidValue", message).await;
}
