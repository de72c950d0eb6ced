//! Tests of the query parameters `ttl`, `dt`, `limit`, `cursor` and `no_resave`, and of unknown ones.

use reqwest::Method;

use super::server;
use crate::support::{Answer, NO_TOKEN, Server, Session, raw};

/// Sends a create with this query.
pub(super) async fn create(server: &Server, query: &str) -> Answer {
    eprintln!("?{query}");
    raw::request(server, &format!("PUT /forum/create/ann?{query}")).await
}

/// Sends a create with this query, and returns the session.
pub(super) async fn created(server: &Server, query: &str) -> Session {
    create(server, query).await.ok();
    let app = server.app("forum");
    let mut sessions = app.soid("ann").await;
    assert_eq!(sessions.len(), 1);
    app.killall().await;
    sessions.remove(0)
}

/// Texts that are not a whole number from 10 to 2147483647.
const NOT_SECONDS: [&str; 29] = [
    "9",
    "1",
    "0",
    "-0",
    "-1",
    "-10",
    "10.0",
    "10.5",
    "10,5",
    "12abc",
    "abc",
    "1e3",
    "1E3",
    "0x10",
    "+10",
    "%2B10",
    "%2010",
    "10%20",
    "10+",
    "10%00",
    "1_000",
    "2147483648",
    "4294967306",
    "18446744073709551626",
    "99999999999999999999999999999999999999",
    "%EF%BC%91%EF%BC%92",
    "Infinity",
    "%zz",
    "%FF",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ttl_must_be_a_whole_number_of_seconds() {
    let server = server().await;
    for (parameter, ttl) in [
        ("ttl=10", 10),
        ("ttl=%31%30", 10),
        ("ttl=7201", 7201),
        ("ttl=2147483647", 2_147_483_647),
        ("ttl=", 7200),
        ("ttl", 7200),
        ("", 7200),
        ("TTL=10", 7200),
    ] {
        assert_eq!(created(&server, &format!("ip=::1&{parameter}")).await.ttl, ttl);
    }
    for ttl in NOT_SECONDS
        .into_iter()
        .chain(["10&ttl=10", "&ttl=10", "10&ttl=", "null", "true"])
    {
        let answer = create(&server, &format!("ip=::1&ttl={ttl}")).await;
        answer.refused(400, "invalidValue", "ttl must be a positive integer >= 10");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dt_is_required_and_must_be_a_whole_number_of_seconds() {
    let server = server().await;
    for route in ["activity", "soapp"] {
        for dt in ["10", "11", "2147483647", "%31%30"] {
            raw::request(&server, &format!("GET /forum/{route}?dt={dt}")).await.ok();
        }
        let wrong = NOT_SECONDS.map(|dt| format!("?dt={dt}"));
        let absent = [
            "",
            "?",
            "?dt",
            "?dt=",
            "?DT=10",
            "?dt=10&dt=10",
            "?dt=&dt=10",
            "?dt=10&%64t=11",
        ]
        .map(str::to_owned);
        for query in wrong.into_iter().chain(absent) {
            eprintln!("{route}{query}");
            let answer = raw::request(&server, &format!("GET /forum/{route}{query}")).await;
            answer.refused(400, "invalidValue", "dt must be a positive integer >= 10");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_must_be_a_positive_whole_number() {
    let server = server().await;
    for limit in ["1", "7", "2147483647", "%31"] {
        raw::request(&server, &format!("GET /forum/soapp?dt=10&limit={limit}"))
            .await
            .ok();
    }
    for limit in [
        "",
        "0",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "2147483648",
        "99999999999999999999",
        "ten",
        "%201",
        "1&limit=1",
        "%zz",
    ] {
        let answer = raw::request(&server, &format!("GET /forum/soapp?dt=10&limit={limit}")).await;
        answer.refused(400, "invalidValue", "limit must be a positive integer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursor_must_be_one_that_soapp_has_answered() {
    let server = server().await;
    let app = server.app("forum");
    app.create("ann").await;
    app.create("bob").await;
    let cursor = app.page(10, Some(1), None).await.1.expect("one more");
    app.page(10, None, Some(&cursor)).await;
    for cursor in [
        "",
        "0",
        &cursor[1..],
        &format!("{cursor}0"),
        &cursor.to_uppercase(),
        &cursor.replacen('0', "+", 1),
        &cursor.replacen('0', "%zz", 1),
        &cursor.replacen('0', "é", 1),
        &format!("{cursor}&cursor={cursor}"),
        NO_TOKEN,
    ] {
        let answer = raw::request(&server, &format!("GET /forum/soapp?dt=10&cursor={cursor}")).await;
        answer.refused(400, "invalidValue", "cursor must be one that soapp has answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_resave_given_twice_is_refused() {
    let server = server().await;
    for query in [
        "no_resave=1&no_resave=1",
        "no_resave=true&no_resave=false",
        "no_resave=1&no%5Fresave=1",
    ] {
        let answer = create(&server, &format!("ip=::1&{query}")).await;
        answer.refused(400, "invalidValue", "no_resave must be given once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_parameters_are_ignored() {
    let server = server().await;
    let odd = "foo=bar&foo=baz&&=&=x&%zz=1&%FF&a=%zz&token=x&id=bob&d=1&r=9";
    let session = created(&server, &format!("{odd}&ip=::1&{odd}&ttl=60&no_resave=1&{odd}")).await;
    assert_eq!((session.id.as_str(), session.ip.as_str(), session.r), ("ann", "::1", 1));
    assert_eq!((session.ttl, session.no_resave, session.d()), (60, true, ""));
    let app = server.app("forum");
    let token = app.create("ann").await;
    for (method, path) in [
        (Method::GET, format!("/get/{token}?{odd}")),
        (Method::GET, format!("/soid/ann?{odd}")),
        (Method::GET, format!("/soapp?{odd}&dt=10")),
        (Method::GET, format!("/activity?{odd}&dt=10")),
        (Method::DELETE, format!("/kill/{token}?{odd}")),
        (Method::DELETE, format!("/killsoid/ann?{odd}")),
        (Method::DELETE, format!("/killall?{odd}")),
    ] {
        raw::request(&server, &format!("{method} /forum{path}")).await.ok();
    }
}
