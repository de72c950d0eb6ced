//! `ip`, `ttl`, `no_resave` and `dt`: the parts of a query.

use reqwest::Method;

use super::server;
use crate::support::{Answer, NO_TOKEN, Server, Session, raw};

const WRONG_IP: &str = "Invalid ip format";

async fn create(server: &Server, query: &str) -> Answer {
    eprintln!("?{query}");
    raw::request(server, &format!("PUT /forum/create/ann?{query}")).await
}

/// The session that a create with this query made.
async fn created(server: &Server, query: &str) -> Session {
    create(server, query).await.ok();
    let app = server.app("forum");
    let mut sessions = app.soid("ann").await;
    assert_eq!(sessions.len(), 1);
    app.killall().await;
    sessions.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ip_is_up_to_39_characters_or_any_ip_address() {
    let server = server().await;
    let of_39 = "x".repeat(39);
    let wide = "한".repeat(39);
    for (sent, ip) in [
        ("1", "1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("%3A%3A1", "::1"),
        ("fe80::1%25eth0", "fe80::1%eth0"),
        ("unknown", "unknown"),
        ("10.0.0.1+via+proxy", "10.0.0.1 via proxy"),
        (
            "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
            "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        ),
        // 45 characters, the longest that an address can have.
        (
            "0000:0000:0000:0000:0000:ffff:255.255.255.255",
            "0000:0000:0000:0000:0000:ffff:255.255.255.255",
        ),
        (&of_39, &of_39),
        (&wide, &wide),
    ] {
        assert_eq!(created(&server, &format!("ip={sent}")).await.ip, ip);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_loses_its_port_and_keeps_its_zone() {
    let server = server().await;
    let full = "2a02:8109:8a40:1f4c:9d5b:37f2:aa0b:4c11";
    let zone = "fe80:0:0:0:a202:b3ff:fe1e:8329%enp0s31f6";
    let long = format!("fe80::1%{}", "x".repeat(64));
    for (sent, ip) in [
        ("203.0.113.7:51234", "203.0.113.7"),
        ("203.0.113.7:0", "203.0.113.7"),
        (&format!("[{full}]:51234"), full),
        (&format!("[{full}]"), full),
        ("[::1]:80", "::1"),
        ("[fe80::1%eth0]:80", "fe80::1%eth0"),
        (&format!("[{zone}]:65535"), zone),
        (zone, zone),
        (&long, &long),
        // An address as it is, and what only looks like one with a port.
        ("::1:8080", "::1:8080"),
        ("203.0.113.7:", "203.0.113.7:"),
        ("203.0.113.7:65536", "203.0.113.7:65536"),
        ("203.0.113.7:80x", "203.0.113.7:80x"),
        ("203.0.113.7:+80", "203.0.113.7:+80"),
        ("[::1]80", "[::1]80"),
        ("[::1", "[::1"),
        ("[]:80", "[]:80"),
        ("host:80", "host:80"),
        ("[203.0.113.7]:80", "[203.0.113.7]:80"),
    ] {
        let escaped = sent
            .replace('%', "%25")
            .replace('+', "%2B")
            .replace('[', "%5B")
            .replace(']', "%5D");
        assert_eq!(created(&server, &format!("ip={escaped}")).await.ip, ip);
    }
    for ip in [
        format!("fe80::1%25{}", "x".repeat(65)),
        format!("{full}%25"),
        format!("{full}%25a%0Ab"),
        format!("{}%25eth0", "x".repeat(40)),
        format!("[{full}]:65536"),
        format!("[{full}]:51234x"),
    ] {
        let answer = create(&server, &format!("ip={ip}")).await;
        answer.refused(400, "invalidFormat", WRONG_IP);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ip_is_required() {
    let server = server().await;
    for query in ["", "ip", "ip=", "ip=&ttl=10", "IP=::1", "ttl=10", "xip=::1", "ip2=::1"] {
        create(&server, query)
            .await
            .refused(400, "missingParameter", "No ip supplied");
    }
    let none = raw::request(&server, "PUT /forum/create/ann").await;
    none.refused(400, "missingParameter", "No ip supplied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ip_that_is_something_else_is_refused() {
    let server = server().await;
    for ip in [
        "x".repeat(40),
        "%ED%95%9C".repeat(40),
        // One character longer than 39 and no address.
        "0000:0000:0000:0000:0000:ffff:255.255.255.256".into(),
        "%00".into(),
        "1%0A".into(),
        "1%092".into(),
        "1%7F".into(),
        "1%C2%85".into(),
        "%zz".into(),
        "%".into(),
        "1%F".into(),
        "%FF".into(),
        "::1&ip=::1".into(),
        "::1&ip=".into(),
        "&ip=::1".into(),
        "::1&%69p=::2".into(),
    ] {
        create(&server, &format!("ip={ip}"))
            .await
            .refused(400, "invalidFormat", WRONG_IP);
    }
}

/// What is no whole number of seconds from 10 to 2147483647.
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
async fn ttl_is_a_whole_number_of_seconds() {
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
async fn dt_is_a_whole_number_of_seconds_and_required() {
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
async fn limit_is_a_positive_whole_number() {
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
async fn cursor_is_what_soapp_has_answered() {
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

/// What is left of `d` after a set with this query and body.
async fn left(server: &Server, query: &str, body: &str) -> String {
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
        // PHP's and Java's words for nothing.
        ("unset=b", "[]", r#"{"a":1,"a b":3,"ä&=":4,"":5}"#),
        ("unset=b", "null", r#"{"a":1,"a b":3,"ä&=":4,"":5}"#),
        ("unset=b&unset=a", "", r#"{"a b":3,"ä&=":4,"":5}"#),
        ("unset=b&unset=b&unset=nope", "", r#"{"a":1,"a b":3,"ä&=":4,"":5}"#),
        ("x=1&unset=a+b&unset=%C3%A4%26%3D", "", r#"{"a":1,"b":2,"":5}"#),
        ("unset=b", r#"{"a":7,"c":8}"#, r#"{"a":7,"a b":3,"ä&=":4,"":5,"c":8}"#),
        ("unset=b", r#"{"b":null,"a":null}"#, r#"{"a b":3,"ä&=":4,"":5}"#),
        // An empty one names nothing, as with every other parameter.
        ("unset=&unset", r#"{"a":7}"#, r#"{"a":7,"b":2,"a b":3,"ä&=":4,"":5}"#),
    ] {
        assert_eq!(left(&server, query, body).await, d, "?{query} {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unset_has_to_make_sense() {
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
    assert_eq!((session.w, session.d()), (1, r#"{"a":1}"#), "a refusal changes nothing");
}
