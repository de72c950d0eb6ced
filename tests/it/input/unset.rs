//! Tests of the query parameter `unset` of set, which removes keys of `d`.

use reqwest::Method;

use super::server;
use crate::support::{Answer, Server, Session};

/// The `d` of a session after a set with this query and body.
async fn d_after_set(server: &Server, query: &str, body: &str) -> String {
    let app = server.app("forum");
    let token = app
        .create_with("ann", "", r#"{"a":1,"b":2,"a b":3,"ä&=":4,"":5}"#)
        .await;
    let request = app.request(Method::POST, &format!("/set/{token}?{query}"));
    let answer = Answer::of(request.body(body.to_owned())).await;
    Session::parse(answer.ok()).expect("alive").d().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unset_removes_keys_as_null_does() {
    let server = server().await;
    for (query, body, d) in [
        ("unset=b", "", r#"{"a":1,"a b":3,"ä&=":4,"":5}"#),
        ("unset=b", "{}", r#"{"a":1,"a b":3,"ä&=":4,"":5}"#),
        // PHP encodes an empty map as `[]`, Java an absent one as `null`.
        ("unset=b", "[]", r#"{"a":1,"a b":3,"ä&=":4,"":5}"#),
        ("unset=b", "null", r#"{"a":1,"a b":3,"ä&=":4,"":5}"#),
        ("unset=b&unset=a", "", r#"{"a b":3,"ä&=":4,"":5}"#),
        ("unset=b&unset=b&unset=nope", "", r#"{"a":1,"a b":3,"ä&=":4,"":5}"#),
        ("x=1&unset=a+b&unset=%C3%A4%26%3D", "", r#"{"a":1,"b":2,"":5}"#),
        ("unset=b", r#"{"a":7,"c":8}"#, r#"{"a":7,"a b":3,"ä&=":4,"":5,"c":8}"#),
        ("unset=b", r#"{"b":null,"a":null}"#, r#"{"a b":3,"ä&=":4,"":5}"#),
        // An empty parameter counts as absent, like every other.
        ("unset=&unset", r#"{"a":7}"#, r#"{"a":7,"b":2,"a b":3,"ä&=":4,"":5}"#),
    ] {
        assert_eq!(d_after_set(&server, query, body).await, d, "?{query} {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_refuses_an_invalid_unset() {
    const NO_KEY: &str = "d must contain at least one key.";
    const NO_OBJECT: &str = "d must be an object";
    let server = server().await;
    let app = server.app("forum");
    let token = app.create_with("ann", "", r#"{"a":1}"#).await;
    for (query, body, message) in [
        ("unset=a", r#"{"a":2}"#, "d.a is both set and unset"),
        ("unset=a&unset=%", "", "unset must be a key of d"),
        ("unset=%FF", r#"{"b":2}"#, "unset must be a key of d"),
        ("unset=", "", NO_KEY),
        ("unset=", "{}", NO_KEY),
        ("", "", NO_KEY),
        ("", "[]", NO_OBJECT),
        ("", "null", NO_OBJECT),
        ("unset=a", "[1]", NO_OBJECT),
    ] {
        let request = app.request(Method::POST, &format!("/set/{token}?{query}"));
        Answer::of(request.body(body))
            .await
            .refused(400, "invalidValue", message);
    }
    let session = app.get(&token).await.expect("alive");
    assert_eq!(
        (session.w, session.d()),
        (1, r#"{"a":1}"#),
        "a refused set changed the session"
    );
}
