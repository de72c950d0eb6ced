//! Tests of `/metrics`: what it counts and times, and that its labels are bounded and hold no secret.

use reqwest::Method;

use crate::support::{Answer, App, NO_TOKEN, Server, Store, for_every_store, raw};

for_every_store![
    requests_are_counted_by_route_method_and_status,
    each_request_is_timed,
    sessions_are_counted_when_they_begin_and_when_they_end,
    store_operations_are_counted,
    labels_are_bounded_and_hold_no_secret,
];

/// The series of requests with these labels.
fn request_series(route: &str, method: &str, status: u16) -> String {
    format!(r#"rest_sessions_http_requests_total{{method="{method}",route="{route}",status="{status}"}}"#)
}

async fn requests_are_counted_by_route_method_and_status(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    for _ in 0..3 {
        app.get(&token).await.expect("alive");
    }
    app.get(NO_TOKEN).await;
    app.set(&token, r#"{"a":1}"#).await.expect("alive");
    app.try_set(&token, "{").await;
    app.try_set("short", "{}").await;
    app.try_set(&token, " ".repeat(60_001)).await;
    Answer::of(app.request(Method::PATCH, "/soid/ann")).await;
    Answer::of(app.request(Method::GET, "/nope")).await;
    Answer::of(app.request(Method::GET, "/nope/nope")).await;
    raw::request(&server, "HEAD /ping").await;
    raw::request(&server, "GET /ping/").await;
    for (route, method, status, count) in [
        ("/{app}/create/{id}", "PUT", 200, 1),
        ("/{app}/get/{token}", "GET", 200, 4),
        ("/{app}/set/{token}", "POST", 200, 1),
        ("/{app}/set/{token}", "POST", 400, 2),
        ("/{app}/set/{token}", "POST", 413, 1),
        ("/{app}/soid/{id}", "PATCH", 405, 1),
        ("unmatched", "GET", 404, 2),
        ("/ping", "HEAD", 200, 1),
        ("/ping", "GET", 200, 1),
    ] {
        assert_eq!(
            server.metric(&request_series(route, method, status)).await,
            count,
            "{method} {route} {status}"
        );
    }
}

async fn each_request_is_timed(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    app.get(&token).await.expect("alive");
    app.get(&token).await.expect("alive");
    let name = "rest_sessions_http_request_duration_seconds";
    let text = server.metrics().await;
    assert!(text.contains(&format!("# TYPE {name} histogram\n")), "{text}");
    let labels = r#"method="GET",route="/{app}/get/{token}""#;
    assert_eq!(server.metric(&format!("{name}_count{{{labels}}}")).await, 2);
    assert_eq!(
        server.metric(&format!(r#"{name}_bucket{{{labels},le="+Inf"}}"#)).await,
        2
    );
    assert!(text.contains(&format!("{name}_sum{{{labels}}} ")), "{text}");
}

async fn sessions_are_counted_when_they_begin_and_when_they_end(store: Store) {
    let server = Server::start_with(store, |config| config.wipe = 1).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    for id in ["ann", "ann", "bob", "bob", "bob"] {
        app.create(id).await;
    }
    app.create_with("carl", "ttl=10", "").await;
    Answer::of(app.request(Method::PUT, "/create/nobody")).await;
    app.kill(&token).await;
    app.kill(&token).await;
    app.killsoid("ann").await;
    server.advance(11);
    server.until_metric("rest_sessions_expired_total", 1).await;
    app.killall().await;
    for (series, count) in [
        ("rest_sessions_created_total", 7),
        (r#"rest_sessions_killed_total{reason="kill"}"#, 1),
        (r#"rest_sessions_killed_total{reason="killsoid"}"#, 2),
        (r#"rest_sessions_killed_total{reason="killall"}"#, 3),
        ("rest_sessions_expired_total", 1),
        ("rest_sessions_unreadable_records_total", 0),
    ] {
        assert_eq!(server.metric(series).await, count, "{series}");
        // A series exists even at 0, so that its first increase is visible.
        assert!(server.metrics().await.contains(&format!("\n{series} ")), "{series}");
    }
}

async fn store_operations_are_counted(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    use_every_route(&app, "ann").await;
    for operation in [
        "create", "get", "set", "activity", "soapp", "soid", "kill", "killsoid", "killall",
    ] {
        let series = format!(r#"rest_sessions_store_operations_total{{operation="{operation}"}}"#);
        assert_eq!(server.metric(&series).await, 1, "{operation}");
    }
    let text = server.metrics().await;
    let errors: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("rest_sessions_store_errors_total"))
        .collect();
    assert!(errors.iter().all(|line| line.ends_with(" 0")), "{errors:?}");
}

/// Sends one valid request to each route, and returns the token of the session.
async fn use_every_route(app: &App, id: &str) -> String {
    let token = app.create_with(id, "", r#"{"secretkey":"secretvalue"}"#).await;
    app.get(&token).await.expect("alive");
    app.set(&token, r#"{"secretkey":"othervalue"}"#).await.expect("alive");
    app.activity(10).await;
    app.soapp(10).await;
    app.soid(id).await;
    app.kill(&token).await;
    app.killsoid(id).await;
    app.killall().await;
    token
}

async fn labels_are_bounded_and_hold_no_secret(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("secretapp");
    let token = use_every_route(&app, "secretid").await;
    for request_line in [
        &format!("GET /secretapp/get/{token}/more"),
        &format!("BREW /secretapp/get/{token}"),
        &format!("GET /secretapp/get/{token}-"),
        "BREW /secretpath",
        "SECRETMETHOD /ping",
        "GET /secretapp/soid/secretid%00",
        "GET /secretapp/activity?dt=secretdt",
        "PUT /secretapp/create/secretid?ip=secretip%00",
        "GET /secretpath?secretquery=1",
    ] {
        raw::request(&server, request_line).await;
    }
    let text = server.metrics().await;
    assert!(!text.contains(&token), "{text}");
    assert!(!text.to_lowercase().contains("secret"), "{text}");
    assert!(!text.contains("BREW"), "{text}");
    assert_eq!(
        server.metric(&request_series("/{app}/get/{token}", "other", 405)).await,
        1
    );
    assert_eq!(server.metric(&request_series("/ping", "other", 405)).await, 1);
    assert_eq!(server.metric(&request_series("unmatched", "other", 404)).await, 1);
    assert_eq!(server.metric(&request_series("unmatched", "GET", 404)).await, 2);
}
