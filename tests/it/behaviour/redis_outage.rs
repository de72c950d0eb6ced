//! A Redis that is away or silent: every route that needs it says so, and those that do not still answer.

use std::time::Duration;

use reqwest::Method;
use rest_sessions::config::Span;
use tokio::net::TcpListener;

use crate::support::{Answer, NO_TOKEN, Server, Store};

/// A server whose Redis is said to be at this address.
async fn server_with_redis_at(address: std::net::SocketAddr) -> Server {
    Server::start_with(Store::Redis, |config| {
        config.redis_url = Some(format!("redis://{address}"));
        config.timeout = Span(Duration::from_millis(300));
    })
    .await
}

async fn assert_outage(server: &Server) {
    for (method, path) in [
        (Method::PUT, "/forum/create/ann?ip=127.0.0.1".to_owned()),
        (Method::GET, format!("/forum/get/{NO_TOKEN}")),
        (Method::POST, format!("/forum/set/{NO_TOKEN}")),
        (Method::GET, "/forum/activity?dt=60".to_owned()),
        (Method::GET, "/forum/soapp?dt=60".to_owned()),
        (Method::GET, "/forum/soid/ann".to_owned()),
        (Method::DELETE, format!("/forum/kill/{NO_TOKEN}")),
        (Method::DELETE, "/forum/killsoid/ann".to_owned()),
        (Method::DELETE, "/forum/killall".to_owned()),
        (Method::GET, "/readyz".to_owned()),
    ] {
        eprintln!("{method} {path}");
        let request = server.client().request(method, server.url(&path)).body(r#"{"a":1}"#);
        let answer = Answer::of(request).await;
        answer.refused(503, "storeUnavailable", "The session store is not available");
        assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
    }
    // What is wrong with a request is told without asking the store.
    let bad = Answer::of(server.client().get(server.url("/forum/get/short"))).await;
    bad.refused(400, "invalidFormat", "Invalid token format");
    for path in ["/ping", "/livez", "/metrics"] {
        assert_eq!(
            Answer::of(server.client().get(server.url(path))).await.status,
            200,
            "{path}"
        );
    }
    let errors = server
        .metric(r#"rest_sessions_store_errors_total{operation="get"}"#)
        .await;
    assert_eq!(errors, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_away_is_told() {
    // Bound and let go: nobody listens there now.
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("a bound listener has an address")
    };
    assert_outage(&server_with_redis_at(address).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_says_nothing_is_not_waited_for() {
    // Connections are made by the system; nobody ever reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    assert_outage(&server_with_redis_at(address).await).await;
}
