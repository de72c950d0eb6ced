//! Errors from outside the handlers: unknown routes, wrong methods, and panics.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use rest_sessions::{
    clock::Clock,
    http::{AppState, middleware},
    observability::metrics::Metrics,
    server::{Limits, serve},
    service::Service,
    store::{Backend, Store, embedded::Embedded},
};
use tokio::net::TcpListener;

use super::Wire;
use crate::{process::Process, support::NO_TOKEN};

#[tokio::test]
async fn an_unknown_route_is_not_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &[]);
    for path in [
        "/",
        "/nowhere",
        "/test-app",
        "/test-app/",
        "/test-app/get",
        "/test-app/GET/x",
        "/a/b/c/d",
        "//ping",
    ] {
        process
            .ask("GET", path, "")
            .await
            .refused(404, "notFound", "No such route");
    }
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_allowed_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &[]);
    for (path, methods) in [
        ("/test-app/create/id", "PUT"),
        (&format!("/test-app/get/{NO_TOKEN}"), "GET HEAD"),
        (&format!("/test-app/set/{NO_TOKEN}"), "POST"),
        ("/test-app/activity", "GET HEAD"),
        ("/test-app/soapp", "GET HEAD"),
        ("/test-app/soid/id", "GET HEAD"),
        (&format!("/test-app/kill/{NO_TOKEN}"), "DELETE"),
        ("/test-app/killsoid/id", "DELETE"),
        ("/test-app/killall", "DELETE"),
        ("/ping", "GET HEAD"),
        ("/livez", "GET HEAD"),
        ("/readyz", "GET HEAD"),
        ("/metrics", "GET HEAD"),
        ("/openapi.yaml", "GET HEAD"),
    ] {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            if methods.contains(method) {
                continue;
            }
            let answer = process.ask(method, path, "").await;
            answer.refused(405, "methodNotAllowed", "The route does not have this method");
            let allowed: BTreeSet<_> = answer.header("allow").split(',').map(str::trim).collect();
            assert_eq!(allowed, methods.split(' ').collect(), "{method} {path}");
        }
    }
}

/// Starts a server with the real middleware and a handler that panics.
async fn start_with_panicking_handler(folder: &std::path::Path) -> (Arc<Metrics>, String) {
    let metrics = Arc::new(Metrics::new());
    let deadline = Duration::from_secs(2);
    let embedded = Embedded::open(folder, 1 << 20, deadline, metrics.clone()).expect("a new folder");
    let store = Store::new(Backend::Embedded(embedded), deadline, metrics.clone());
    let service = Arc::new(Service::new(store, Clock::System, metrics.clone()));
    let state = AppState::new(service, metrics.clone(), deadline, "session");
    let table = Router::new().route("/fine", get(async || "fine")).route(
        "/panic/{what}",
        get(async |what: axum::extract::Path<String>| -> &'static str { panic!("{}", what.0) }),
    );
    let stack = middleware::wrap(&table, &state);
    let limits = Limits {
        idle: deadline,
        connections: 10,
        drain_delay: Duration::ZERO,
        drain_timeout: deadline,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { serve(listener.into(), stack, &state, limits, std::future::pending()).await });
    (metrics, address)
}

#[tokio::test]
async fn a_panic_is_answered_500_and_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (metrics, address) = start_with_panicking_handler(&folder.path().join("data")).await;
    let mut wire = Wire::connect(&address).await;
    let internal = r#"{"name":"internalError","message":"Internal error"}"#;
    for _ in 0..2 {
        assert_eq!(wire.get("/panic/on-purpose-in-a-test").await, (500, internal.into()));
    }
    // The connection stays usable.
    assert_eq!(wire.get("/fine").await, (200, "fine".into()));
    // Only the service's own routes have a label; the test's routes count as unmatched.
    let counted = r#"rest_sessions_http_requests_total{method="GET",route="unmatched",status="500"} 2"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
}
