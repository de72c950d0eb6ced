//! Tests of the segments of a path: app, token and id.

use super::server;
use crate::support::{NO_TOKEN, Server, raw};

const WRONG_APP: &str = "Invalid app format";
const WRONG_TOKEN: &str = "Invalid token format";
const WRONG_ID: &str = "Invalid id format";

/// Asserts that a request is refused. The request line is sent exactly as given.
async fn refused(server: &Server, request_line: &str, message: &str) {
    eprintln!("{request_line}");
    raw::request(server, request_line)
        .await
        .refused(400, "invalidFormat", message);
}

/// Creates a session with an escaped id, and returns the id that was stored. The path is sent exactly as given.
async fn stored_id(server: &Server, escaped: &str) -> String {
    eprintln!("{escaped}");
    let app = server.app("forum");
    raw::request(server, &format!("PUT /forum/create/{escaped}?ip=::1"))
        .await
        .ok();
    let mut sessions = app.soapp(60).await;
    assert_eq!(sessions.len(), 1);
    assert_eq!(
        raw::request(server, &format!("DELETE /forum/killsoid/{escaped}"))
            .await
            .ok(),
        r#"{"kill":1}"#
    );
    sessions.remove(0).id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_has_3_to_20_letters_digits_underscores_and_hyphens() {
    let server = server().await;
    for app in ["abc", "a-1", "___", "---", "ABC", "0123456789abcdefghij", "%66orum"] {
        eprintln!("{app}");
        raw::request(&server, &format!("GET /{app}/activity?dt=10")).await.ok();
    }
    for app in [
        "ab",
        "a",
        "0123456789abcdefghijk",
        "a.b",
        "a:b",
        "a b",
        "for%20um",
        "for%2Fum",
        "for%00um",
        "forum%0A",
        "caf%C3%A9",
        "forum%FF",
        "forum%zz",
        "forum%",
        "%",
        "*",
    ]
    .map(|app| app.replace(' ', "+"))
    {
        for request in [
            "GET /{}/activity?dt=10",
            "GET /{}/soid/ann",
            "DELETE /{}/killall",
            "PUT /{}/create/ann?ip=::1",
        ] {
            refused(&server, &request.replace("{}", &app), WRONG_APP).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_has_64_letters_and_digits() {
    let server = server().await;
    let requests = ["GET /forum/get/{}", "POST /forum/set/{}", "DELETE /forum/kill/{}"];
    raw::request(&server, &format!("GET /forum/get/{NO_TOKEN}")).await.ok();
    raw::request(&server, &format!("GET /forum/get/%61{}", &NO_TOKEN[1..]))
        .await
        .ok();
    let of_63 = &NO_TOKEN[1..];
    for token in [
        "x".to_owned(),
        of_63.to_owned(),
        format!("{NO_TOKEN}a"),
        format!("{of_63}-"),
        format!("{of_63}_"),
        format!("{of_63}."),
        format!("{of_63}:"),
        format!("{of_63}%20"),
        format!("{of_63}%2F"),
        format!("{of_63}%00"),
        format!("{of_63}%0A"),
        format!("{of_63}%zz"),
        // 64 bytes, but 63 characters.
        format!("{}%C3%A9", &NO_TOKEN[2..]),
        format!("{of_63}%C3%A9"),
        format!("{of_63}%FF"),
    ] {
        for request in requests {
            refused(&server, &request.replace("{}", &token), WRONG_TOKEN).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_decoded_once_and_may_contain_any_other_character() {
    let server = server().await;
    for (escaped, id) in [
        ("ann", "ann"),
        ("%61%6e%6E", "ann"),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a:b:c", "a:b:c"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("%20", " "),
        ("a%3Fb%23c%26d%3De", "a?b#c&d=e"),
        ("%25", "%"),
        ("%2500", "%00"),
        (".", "."),
        ("..", ".."),
        ("%2E%2e", ".."),
        ("%ED%95%9C%EA%B5%AD", "한국"),
        ("%F0%9F%98%80", "😀"),
        // Sent without the escapes that URLs require.
        ("한국", "한국"),
        ("ann@example.com", "ann@example.com"),
        ("%C2%A0", "\u{a0}"),
        // The neighbours of refused characters: around the line breaks and after the control characters.
        ("%E2%80%A7", "\u{2027}"),
        ("%E2%80%AA", "\u{202a}"),
        ("~!$'()*,;=", "~!$'()*,;="),
    ] {
        assert_eq!(stored_id(&server, escaped).await, id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_has_at_most_255_characters_of_any_width() {
    let server = server().await;
    for (letter, escaped) in [("x", "x"), ("é", "%C3%A9"), ("한", "%ED%95%9C"), ("😀", "%F0%9F%98%80")] {
        assert_eq!(stored_id(&server, &escaped.repeat(255)).await, letter.repeat(255));
        let longer = escaped.repeat(256);
        refused(&server, &format!("PUT /forum/create/{longer}?ip=::1"), WRONG_ID).await;
        refused(&server, &format!("GET /forum/soid/{longer}"), WRONG_ID).await;
        refused(&server, &format!("DELETE /forum/killsoid/{longer}"), WRONG_ID).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_with_a_control_character_line_break_or_broken_escape_is_refused() {
    let server = server().await;
    for id in [
        "%00",
        "a%00",
        "%01b",
        "a%09b",
        "a%0Ab",
        "a%0D",
        "%1F",
        "%7F",
        "%C2%80",
        "%C2%85",
        "%C2%9F",
        "%E2%80%A8",
        "a%E2%80%A9b",
    ]
    .into_iter()
    // Broken escapes, and bytes that are not UTF-8: truncated, overlong, a surrogate, beyond the last code point.
    .chain([
        "%",
        "a%",
        "%4",
        "a%4",
        "%zz",
        "%0g",
        "%g0",
        "%-1",
        "%+1",
        "%u0041",
        "%%41",
        "%FF",
        "%C3",
        "%C3%28",
        "%C0%AF",
        "%ED%A0%80",
        "%F4%90%80%80",
        "%E2%80",
    ]) {
        for request in [
            "PUT /forum/create/{}?ip=::1",
            "GET /forum/soid/{}",
            "DELETE /forum/killsoid/{}",
        ] {
            refused(&server, &request.replace("{}", id), WRONG_ID).await;
        }
    }
    assert!(server.app("forum").soapp(60).await.is_empty());
}
