//! Tests of Redis keys of a wrong type: such a key affects its own app only, and the service goes on.

use reqwest::Method;

use crate::support::{Answer, App, Server, Store, redis_server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_key_of_a_wrong_type_counts_as_missing() {
    let server = Server::start(Store::Redis).await;
    let namespace = &server.config.namespace;
    let app = server.app("forum");
    let token = app.create("ann").await;
    redis_server::ask::<String>(&format!("SET {namespace}:forum:{token} text"));
    assert!(app.get(&token).await.is_none());
    assert!(app.set(&token, r#"{"a":1}"#).await.is_none());
    assert!(app.soid("ann").await.is_empty());
    assert!(app.soapp(60).await.is_empty());
    assert_eq!(app.kill(&token).await, 0);
    app.create("ann").await;
    assert_eq!(app.soid("ann").await.len(), 1);
}

/// Uses every route of an app, and checks that each answers with 200 or with the contract's 503.
async fn use_every_route(app: &App, token: &str) {
    for (method, path) in [
        (Method::PUT, "/create/ann?ip=127.0.0.1".to_owned()),
        (Method::GET, format!("/get/{token}")),
        (Method::POST, format!("/set/{token}")),
        (Method::GET, "/activity?dt=60".to_owned()),
        (Method::GET, "/soapp?dt=60".to_owned()),
        (Method::GET, "/soid/ann".to_owned()),
        (Method::DELETE, format!("/kill/{token}")),
        (Method::DELETE, "/killsoid/ann".to_owned()),
        (Method::DELETE, "/killall".to_owned()),
    ] {
        let answer = Answer::of(app.request(method, &path).body(r#"{"a":1}"#)).await;
        match answer.status {
            200 => drop(answer.ok()),
            503 => answer.refused(503, "storeUnavailable", "The session store is not available"),
            _ => panic!("{path}: {answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_a_wrong_type_does_not_affect_other_apps() {
    let server = Server::start(Store::Redis).await;
    let namespace = &server.config.namespace;
    let [app, other] = [server.app("forum"), server.app("shop")];
    for index in ["forum:_sessions", "forum:_users", "forum:us:ann"] {
        let token = app.create("ann").await;
        redis_server::ask::<String>(&format!("SET {namespace}:{index} text"));
        use_every_route(&app, &token).await;
        let token = other.create("ann").await;
        assert!(other.set(&token, r#"{"a":1}"#).await.is_some());
        assert!(other.get(&token).await.is_some());
        assert_eq!(
            (
                other.soid("ann").await.len(),
                other.soapp(60).await.len(),
                other.activity(60).await
            ),
            (1, 1, 1)
        );
        assert_eq!(other.kill(&token).await, 1);
        for key in redis_server::keys(namespace) {
            redis_server::ask::<i64>(&format!("DEL {key}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_survives_a_common_index_of_a_wrong_type() {
    let server = Server::start_with(Store::Redis, |config| config.wipe = 1).await;
    let sessions = format!("{}:SESSIONS", server.config.namespace);
    let app = server.app("forum");
    let token = app.create("ann").await;
    redis_server::ask::<String>(&format!("SET {sessions} text"));
    use_every_route(&app, &token).await;
    // The wiper has run into the error too.
    server
        .until_metric(r#"rest_sessions_store_errors_total{operation="wipe"}"#, 1)
        .await;
    redis_server::ask::<i64>(&format!("DEL {sessions}"));
    // After the key is removed, everything works again.
    app.create_with("bob", "ttl=10", "").await;
    assert_eq!(app.soid("bob").await.len(), 1);
    server.advance(11);
    server.until_metric("rest_sessions_expired_total", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_damaged_app_does_not_block_the_wiper() {
    let server = Server::start_with(Store::Redis, |config| config.wipe = 1).await;
    let namespace = server.config.namespace.clone();
    for app in ["blog", "forum", "shop"] {
        server.app(app).create_with("ann", "ttl=10", "").await;
    }
    let index = format!("{namespace}:forum:_sessions");
    redis_server::ask::<String>(&format!("SET {index} text"));
    server.advance(11);
    server.until_metric("rest_sessions_expired_total", 3).await;
    assert_eq!(redis_server::keys(&namespace), [index]);
}
