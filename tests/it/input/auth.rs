//! Tests of where `auth` finds the token, and of its query parameters.

use reqwest::Method;

use super::server;
use crate::support::{Answer, NO_TOKEN, Server, Store, raw};

/// The status of an `auth` request with these header lines.
async fn status(server: &Server, lines: &[String]) -> u16 {
    let head = ["GET /forum/auth HTTP/1.1", "Host: test", "Connection: close"];
    let head = head.into_iter().chain(lines.iter().map(String::as_str));
    let head = head.chain(["", ""]).collect::<Vec<_>>().join("\r\n");
    raw::exchange(server, head).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_takes_the_token_from_its_cookie_or_its_header() {
    let server = server().await;
    let token = server.app("forum").create("ann").await;
    let line = |text: &str| vec![text.replace('T', &token)];
    for (lines, expected) in [
        (line("Cookie: session=T"), 204),
        (line("cookie:session=T"), 204),
        (line("Cookie: a=b; session=T; c=d"), 204),
        (line("Cookie: a=b;session=T;c=d"), 204),
        (line("Cookie: a=b ; session = T ;"), 204),
        (line("Cookie: session=\"T\""), 204),
        (vec!["Cookie: a=b".into(), format!("Cookie: session={token}")], 204),
        (vec![format!("X-Session-Token: {token}")], 204),
        // The header beats the cookie, unless it is empty.
        (
            vec![format!("X-Session-Token: {token}"), "Cookie: session=x".into()],
            204,
        ),
        (
            vec![
                format!("X-Session-Token: {NO_TOKEN}"),
                format!("Cookie: session={token}"),
            ],
            401,
        ),
        (vec!["X-Session-Token:".into(), format!("Cookie: session={token}")], 204),
        // A cookie that is not a token is skipped; `auth_takes_the_same_cookie_as_the_adapters` has more cases.
        (line("Cookie: session=T; session=x"), 204),
        (line("Cookie: session=x; session=T"), 204),
        (
            vec!["X-Session-Token: x".into(), format!("Cookie: session={token}")],
            401,
        ),
        (line("Cookie: xsession=T"), 401),
        (line("Cookie: session2=T"), 401),
        (line("Cookie: Session=T"), 401),
        (line("Cookie: a=session=T"), 401),
        (line("Cookie: a=session; =T"), 401),
        (line("Cookie: session=Tx"), 401),
        (line("Cookie: session=\"T"), 401),
        (line("Cookie: session"), 401),
        (line("Cookie: T"), 401),
        (line("Authorization: Bearer T"), 401),
        (vec![], 401),
    ] {
        assert_eq!(status(&server, &lines).await, expected, "{lines:?}");
    }
}

/// The tests of the adapters use the same table of cases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_takes_the_same_cookie_as_the_adapters() {
    #[derive(Debug, serde::Deserialize)]
    struct Case {
        name: String,
        lines: Vec<String>,
        who: Option<String>,
    }
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../cookies.json")).expect("a table");
    let server = server().await;
    let app = server.app("forum");
    let (ann, bob, dead) = (
        app.create("ann").await,
        app.create("bob").await,
        app.create("eve").await,
    );
    app.kill(&dead).await;
    let mut passed = 0;
    for case in cases {
        let lines = case.lines.iter().map(|line| {
            let line = line
                .replace("{ann}", &ann)
                .replace("{bob}", &bob)
                .replace("{dead}", &dead);
            format!("Cookie: {line}\r\n")
        });
        let lines: String = lines.collect();
        for query in ["", "?touch=0"] {
            let request = format!("GET /forum/auth{query} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{lines}\r\n");
            let answer = raw::exchange(&server, request).await;
            let id = (answer.status == 204).then(|| answer.header("x-session-id").to_owned());
            assert_eq!(id, case.who, "{}", case.name);
            passed += u32::from(id.is_some());
        }
    }
    assert!(passed > 20, "{passed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_tries_four_cookies_of_one_name_in_order() {
    let server = server().await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    let dead: Vec<_> = (0..4).map(|n| format!("session={n}{}; ", &NO_TOKEN[1..])).collect();
    for (before, expected) in [(0, 204), (3, 204), (4, 401)] {
        let lines = [format!("Cookie: {}session={token}", dead[..before].concat())];
        assert_eq!(status(&server, &lines).await, expected, "{before}");
    }
    // Some proxies and CGI join two lines with a comma.
    let lines = [format!("Cookie: a=1, session=x,session={token}, b=2")];
    assert_eq!(status(&server, &lines).await, 204);
    // The read counts for the session that was accepted, and for no other.
    let (first, second) = (app.create("bob").await, app.create("eve").await);
    status(&server, &[format!("Cookie: session={first}; session={second}")]).await;
    let r = async |token: &str| app.get(token).await.expect("alive").r;
    assert_eq!((r(&first).await, r(&second).await), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_ignores_a_cookie_that_is_not_text() {
    let server = server().await;
    let token = server.app("forum").create("ann").await;
    let mut request =
        b"GET /forum/auth HTTP/1.1\r\nHost: test\r\nConnection: close\r\nCookie: a=\xff\xfe; session=".to_vec();
    request.extend_from_slice(token.as_bytes());
    request.extend_from_slice(b"\r\n\r\n");
    assert_eq!(raw::exchange(&server, request).await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cookie_has_the_configured_name() {
    let server = Server::start_with(Store::Embedded, |config| config.cookie = "__Host-id".into()).await;
    let token = server.app("forum").create("ann").await;
    assert_eq!(status(&server, &[format!("Cookie: __Host-id={token}")]).await, 204);
    assert_eq!(status(&server, &[format!("Cookie: session={token}")]).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_answers_head_like_get() {
    let server = server().await;
    let token = server.app("forum").create("ann").await;
    for method in [Method::GET, Method::HEAD] {
        let request = server.app("forum").request(method, "/auth");
        let answer = Answer::of(request.header("X-Session-Token", &token)).await;
        assert_eq!((answer.status, answer.header("x-session-id")), (204, "ann"));
        assert_eq!(
            answer.header("content-length"),
            "",
            "an answer without a body has no length"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_refuses_invalid_parameters() {
    const KEYS: &str = "d must be keys of A-Z a-z 0-9 _ - with commas between them";
    let server = server().await;
    let token = server.app("forum").create("ann").await;
    let ask = async |query: &str| {
        let request = server.app("forum").request(Method::GET, &format!("/auth?{query}"));
        Answer::of(request.header("X-Session-Token", &token)).await
    };
    for (query, message) in [
        ("d=a%20b", KEYS),
        ("d=a,b:c", KEYS),
        ("d=%C3%A4", KEYS),
        ("d=a%0D%0AX-Forged", KEYS),
        ("d=a&d=b", KEYS),
        ("d=%zz", KEYS),
        ("d=role,Role", "d must not have keys that differ in case only"),
        ("touch=2", "touch must be 0 or 1"),
        ("touch=false", "touch must be 0 or 1"),
        ("touch=0&touch=0", "touch must be 0 or 1"),
        ("d=:&touch=2", KEYS),
    ] {
        ask(query).await.refused(400, "invalidValue", message);
    }
    for query in ["except=a%0Ab", "except=a&except=b", "except=%zz"] {
        ask(query).await.refused(400, "invalidFormat", "Invalid id format");
    }
    for query in [
        "",
        "d",
        "d=",
        "d=,",
        "d=a,,a",
        "touch",
        "touch=",
        "touch=1",
        "touch=0",
        "colour=red",
    ] {
        assert_eq!(ask(query).await.status, 204, "{query}");
    }
    let answer = Answer::of(server.client().get(server.url("/x/auth?d=:"))).await;
    answer.refused(400, "invalidFormat", "Invalid app format");
}
