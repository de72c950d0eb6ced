//! `auth`: whose session a request belongs to, and what looking costs the session.

use reqwest::Method;

use crate::support::{Answer, App, NO_TOKEN, Server, Store, for_every_store};

for_every_store![
    a_live_session_passes,
    everybody_else_is_refused,
    it_counts_as_a_get_and_renews,
    a_look_leaves_no_trace,
    the_seconds_left_of_a_session_that_is_not_renewed,
    values_are_told_as_text,
    no_value_can_begin_a_header,
    keys_that_are_not_there_are_left_out,
    one_id_can_be_kept_out,
    an_id_comes_back_when_it_is_decoded,
];

/// The answer for a token in the header.
async fn auth(app: &App, query: &str, token: &str) -> Answer {
    let request = app.request(Method::GET, &format!("/auth{query}"));
    Answer::of(request.header("X-Session-Token", token)).await
}

#[track_caller]
fn passed(answer: &Answer, id: &str, ttl: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
    assert_eq!(answer.header("x-session-id"), id);
    assert_eq!(answer.header("x-session-ttl"), ttl);
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// The headers of keys of `d`, sorted.
fn data(answer: &Answer) -> Vec<(&str, &str)> {
    let headers = answer.headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix("x-session-data-")?;
        Some((key, value.to_str().expect("a text")))
    });
    let mut headers: Vec<_> = headers.collect();
    headers.sort_unstable();
    headers
}

async fn a_live_session_passes(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=600", r#"{"role":"admin"}"#).await;
    let answer = auth(&app, "", &token).await;
    passed(&answer, "ann", "600");
    assert_eq!(data(&answer), []);
    // As a browser sends it, by way of nginx.
    let cookie = app
        .request(Method::GET, "/auth?d=role")
        .header("Cookie", format!("theme=dark; session={token}; x=1"));
    let answer = Answer::of(cookie).await;
    passed(&answer, "ann", "600");
    assert_eq!(data(&answer), [("role", "admin")]);
}

async fn everybody_else_is_refused(store: Store) {
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
    assert!(server.app("other").get(&other).await.is_some(), "it was of another app");
}

async fn it_counts_as_a_get_and_renews(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    for _ in 0..3 {
        server.advance(8);
        passed(&auth(&app, "", &token).await, "ann", "10");
    }
    let session = app.get(&token).await.expect("renewed");
    assert_eq!((session.r, session.idle), (4, 0));
}

async fn a_look_leaves_no_trace(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    app.get(&token).await.expect("alive");
    server.advance(4);
    for _ in 0..3 {
        passed(&auth(&app, "?touch=0", &token).await, "ann", "6");
    }
    assert_eq!(app.activity(10).await, 1);
    let session = &app.soid("ann").await[0];
    assert_eq!((session.r, session.idle), (2, 4));
    server.advance(6);
    passed(&auth(&app, "?touch=0", &token).await, "ann", "0");
    server.advance(1);
    assert_eq!(auth(&app, "?touch=0", &token).await.status, 401);
    assert!(app.get(&token).await.is_none(), "it was not renewed");
}

async fn the_seconds_left_of_a_session_that_is_not_renewed(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=100&no_resave=1", "").await;
    server.advance(30);
    passed(&auth(&app, "", &token).await, "ann", "70");
    server.advance(30);
    passed(&auth(&app, "?touch=0", &token).await, "ann", "40");
    server.advance(41);
    assert_eq!(auth(&app, "", &token).await.status, 401);
}

async fn values_are_told_as_text(store: Store) {
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

async fn no_value_can_begin_a_header(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let d = r#"{"role":"user\r\nX-Session-Data-Admin: true\u0000\n\n<b>","admin":false}"#;
    let token = app.create_with("ann", "", d).await;
    let answer = auth(&app, "?d=role", &token).await;
    let encoded = "user%0D%0AX-Session-Data-Admin%3A%20true%00%0A%0A%3Cb%3E";
    assert_eq!(data(&answer), [("role", encoded)]);
}

async fn keys_that_are_not_there_are_left_out(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app
        .create_with("ann", "", r#"{"Role":"admin","user_id":7,"user-id":8}"#)
        .await;
    // A header's name has no case; a key has.
    assert_eq!(data(&auth(&app, "?d=role,nope,,", &token).await), []);
    let answer = auth(&app, "?d=Role,user_id%2Cuser-id,Role", &token).await;
    assert_eq!(data(&answer), [("role", "admin"), ("user-id", "8"), ("user_id", "7")]);
    let bare = app.create("bob").await;
    assert_eq!(data(&auth(&app, "?d=role", &bare).await), []);
}

async fn one_id_can_be_kept_out(store: Store) {
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
        passed(&auth(&app, query, &ann).await, "ann", "7200");
        passed(&auth(&app, query, &like).await, "anonymousse", "7200");
    }
    for query in [
        "",
        "?except=",
        "?except=anon",
        "?except=Anonymous",
        "?except=anonymous:",
    ] {
        passed(&auth(&app, query, &guest).await, "anonymous", "7200");
        passed(&auth(&app, query, &one).await, "anonymous%3A1f2e3d4c5b6a7988", "7200");
    }
}

async fn an_id_comes_back_when_it_is_decoded(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for (id, header) in [
        ("ann@example.com", "ann%40example.com"),
        ("a b/c%d,é한", "a%20b%2Fc%25d%2C%C3%A9%ED%95%9C"),
        ("A-Z.a_z~0", "A-Z.a_z~0"),
    ] {
        let token = app.create(id).await;
        passed(&auth(&app, "", &token).await, header, "7200");
    }
}
