//! Tests of `auth`, which tells a proxy to whose session a request belongs, and of `touch=0`, which does so without
//! renewing the session.

use reqwest::Method;

use crate::support::{Answer, App, NO_TOKEN, Server, Store, for_every_store};

for_every_store![
    auth_accepts_a_live_session,
    auth_refuses_a_request_without_a_live_session,
    auth_counts_as_a_read_and_renews,
    touch_0_neither_counts_nor_renews,
    auth_reports_the_seconds_left_of_a_no_resave_session,
    auth_sends_values_as_percent_encoded_text,
    a_value_cannot_inject_a_header,
    auth_leaves_out_keys_that_the_session_lacks,
    except_refuses_one_id,
    auth_sends_the_id_percent_encoded,
];

/// Sends `token` in the header and returns the answer.
async fn auth(app: &App, query: &str, token: &str) -> Answer {
    let request = app.request(Method::GET, &format!("/auth{query}"));
    Answer::of(request.header("X-Session-Token", token)).await
}

#[track_caller]
fn assert_accepted(answer: &Answer, id: &str, ttl: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
    assert_eq!(answer.header("x-session-id"), id);
    assert_eq!(answer.header("x-session-ttl"), ttl);
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// The `X-Session-Data-*` headers as pairs of key and value, sorted.
fn data(answer: &Answer) -> Vec<(&str, &str)> {
    let headers = answer.headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix("x-session-data-")?;
        Some((key, value.to_str().expect("a text")))
    });
    let mut headers: Vec<_> = headers.collect();
    headers.sort_unstable();
    headers
}

async fn auth_accepts_a_live_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=600", r#"{"role":"admin"}"#).await;
    let answer = auth(&app, "", &token).await;
    assert_accepted(&answer, "ann", "600");
    assert_eq!(data(&answer), []);
    // The token in a cookie, as nginx passes it on from a browser.
    let cookie = app
        .request(Method::GET, "/auth?d=role")
        .header("Cookie", format!("theme=dark; session={token}; x=1"));
    let answer = Answer::of(cookie).await;
    assert_accepted(&answer, "ann", "600");
    assert_eq!(data(&answer), [("role", "admin")]);
}

async fn auth_refuses_a_request_without_a_live_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let (dead, other) = (app.create("ann").await, server.app("other").create("ann").await);
    let expired = app.create_with("ann", "ttl=10", "").await;
    app.kill(&dead).await;
    server.advance(11);
    for token in [&dead, &other, &expired, NO_TOKEN, "short", ""] {
        for query in ["", "?touch=0"] {
            let answer = auth(&app, query, token).await;
            answer.refused(401, "unauthorized", "The request brings no token of a live session");
            assert_eq!(answer.header("www-authenticate"), "Session");
            assert_eq!(answer.header("x-session-id"), "");
        }
    }
    assert!(
        server.app("other").get(&other).await.is_some(),
        "the session is live in its own app"
    );
}

async fn auth_counts_as_a_read_and_renews(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    for _ in 0..3 {
        server.advance(8);
        assert_accepted(&auth(&app, "", &token).await, "ann", "10");
    }
    let session = app.get(&token).await.expect("renewed");
    assert_eq!((session.r, session.idle), (4, 0));
}

async fn touch_0_neither_counts_nor_renews(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    app.get(&token).await.expect("alive");
    server.advance(4);
    for _ in 0..3 {
        assert_accepted(&auth(&app, "?touch=0", &token).await, "ann", "6");
    }
    assert_eq!(app.activity(10).await, 1);
    let session = &app.soid("ann").await[0];
    assert_eq!((session.r, session.idle), (2, 4));
    server.advance(6);
    assert_accepted(&auth(&app, "?touch=0", &token).await, "ann", "0");
    server.advance(1);
    assert_eq!(auth(&app, "?touch=0", &token).await.status, 401);
    assert!(app.get(&token).await.is_none(), "touch=0 renewed the session");
}

async fn auth_reports_the_seconds_left_of_a_no_resave_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=100&no_resave=1", "").await;
    server.advance(30);
    assert_accepted(&auth(&app, "", &token).await, "ann", "70");
    server.advance(30);
    assert_accepted(&auth(&app, "?touch=0", &token).await, "ann", "40");
    server.advance(41);
    assert_eq!(auth(&app, "", &token).await.status, 401);
}

async fn auth_sends_values_as_percent_encoded_text(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let d =
        r#"{"s":"dark","n":12345678901234567890,"half":0.50,"yes":true,"no":false,"empty":"","quoted":"a\"b\u00fc"}"#;
    let token = app.create_with("ann", "", d).await;
    let answer = auth(&app, "?d=s,n,half,yes,no,empty,quoted", &token).await;
    let expected = [
        ("empty", ""),
        ("half", "0.50"),
        ("n", "12345678901234567890"),
        ("no", "false"),
        ("quoted", "a%22b%C3%BC"),
        ("s", "dark"),
        ("yes", "true"),
    ];
    assert_eq!(data(&answer), expected);
}

async fn a_value_cannot_inject_a_header(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let d = r#"{"role":"user\r\nX-Session-Data-Admin: true\u0000\n\n<b>","admin":false}"#;
    let token = app.create_with("ann", "", d).await;
    let answer = auth(&app, "?d=role", &token).await;
    let encoded = "user%0D%0AX-Session-Data-Admin%3A%20true%00%0A%0A%3Cb%3E";
    assert_eq!(data(&answer), [("role", encoded)]);
}

async fn auth_leaves_out_keys_that_the_session_lacks(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app
        .create_with("ann", "", r#"{"Role":"admin","user_id":7,"user-id":8}"#)
        .await;
    // Keys of `d` are case-sensitive, names of headers are not.
    assert_eq!(data(&auth(&app, "?d=role,nope,,", &token).await), []);
    let answer = auth(&app, "?d=Role,user_id%2Cuser-id,Role", &token).await;
    assert_eq!(data(&answer), [("role", "admin"), ("user-id", "8"), ("user_id", "7")]);
    let bare = app.create("bob").await;
    assert_eq!(data(&auth(&app, "?d=role", &bare).await), []);
}

async fn except_refuses_one_id(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let (guest, ann) = (app.create("anonymous").await, app.create("ann").await);
    let (one, like) = (
        app.create("anonymous:1f2e3d4c5b6a7988").await,
        app.create("anonymousse").await,
    );
    for query in ["?except=anonymous", "?touch=0&except=%61nonymous"] {
        for guest in [&guest, &one] {
            assert_eq!(auth(&app, query, guest).await.status, 401, "{query}");
        }
        assert_accepted(&auth(&app, query, &ann).await, "ann", "7200");
        assert_accepted(&auth(&app, query, &like).await, "anonymousse", "7200");
    }
    for query in [
        "",
        "?except=",
        "?except=anon",
        "?except=Anonymous",
        "?except=anonymous:",
    ] {
        assert_accepted(&auth(&app, query, &guest).await, "anonymous", "7200");
        assert_accepted(&auth(&app, query, &one).await, "anonymous%3A1f2e3d4c5b6a7988", "7200");
    }
}

async fn auth_sends_the_id_percent_encoded(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for (id, header) in [
        ("ann@example.com", "ann%40example.com"),
        ("a b/c%d,é한", "a%20b%2Fc%25d%2C%C3%A9%ED%95%9C"),
        ("A-Z.a_z~0", "A-Z.a_z~0"),
    ] {
        let token = app.create(id).await;
        assert_accepted(&auth(&app, "", &token).await, header, "7200");
    }
}
