//! Tests of unreadable records in Redis: a record that does not parse counts as missing, is counted in a metric, and
//! never stops the service.

use std::collections::BTreeMap;

use crate::support::{Server, Store, eventually, json, redis_server};

const UNREADABLE: &str = "rest_sessions_unreadable_records_total";

/// Kinds of damage to a hash: a Redis command, and its arguments after the key.
const DAMAGE: [(&str, &str); 16] = [
    ("HDEL", "id"),
    ("HDEL", "r"),
    ("HDEL", "la"),
    ("HDEL", "ttl"),
    ("HSET", "r many"),
    ("HSET", "w 1.5"),
    ("HSET", "w -1"),
    ("HSET", "ttl 0x10"),
    ("HSET", "ttl 1e3"),
    ("HSET", "la nan"),
    ("HSET", r#"d {"a":"#),
    ("HSET", r#"d {"a":{}}"#),
    ("HSET", r#"d {"a":[1]}"#),
    ("HSET", "d [1]"),
    ("HSET", "d text"),
    ("HSET", r#"d {"a":1}{"#),
];

/// Runs a request that meets one unreadable record, and checks that it was counted.
async fn counted<T>(server: &Server, what: &str, request: impl Future<Output = T>) -> T {
    let before = server.metric(UNREADABLE).await;
    let answer = request.await;
    assert_eq!(server.metric(UNREADABLE).await, before + 1, "{what}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_treats_an_unreadable_record_as_missing() {
    let server = Server::start(Store::Redis).await;
    let namespace = &server.config.namespace;
    let app = server.app("forum");
    for (command, change) in DAMAGE {
        let what = format!("{command} {change}");
        let token = app.create_with("ann", "", r#"{"a":1}"#).await;
        let readable = app.create_with("ann", "", r#"{"b":1}"#).await;
        redis_server::ask::<i64>(&format!("{command} {namespace}:forum:{token} {change}"));
        assert!(counted(&server, &what, app.get(&token)).await.is_none(), "{what}");
        assert!(
            counted(&server, &what, app.set(&token, r#"{"c":1}"#)).await.is_none(),
            "{what}"
        );
        for sessions in [
            counted(&server, &what, app.soid("ann")).await,
            counted(&server, &what, app.soapp(60)).await,
        ] {
            // The readable session is still listed.
            assert_eq!(sessions.len(), 1, "{what}");
            assert_eq!(sessions[0].d(), r#"{"b":1}"#, "{what}");
        }
        assert_eq!(counted(&server, &what, app.kill(&token)).await, 0, "{what}");
        assert!(app.get(&readable).await.is_some(), "{what}");
        app.killall().await;
        assert_eq!(redis_server::keys(namespace), [""; 0], "{what}");
    }
}

/// A record that counts as missing is neither renewed nor changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_and_set_leave_an_unreadable_record_unchanged() {
    let server = Server::start(Store::Redis).await;
    let namespace = &server.config.namespace;
    let app = server.app("forum");
    for (command, change) in DAMAGE {
        let token = app.create_with("ann", "", r#"{"a":1}"#).await;
        redis_server::ask::<i64>(&format!("{command} {namespace}:forum:{token} {change}"));
        let hash = || redis_server::ask::<BTreeMap<String, String>>(&format!("HGETALL {namespace}:forum:{token}"));
        let ends = || redis_server::ask::<Vec<(String, u64)>>(&format!("ZRANGE {namespace}:SESSIONS 0 -1 WITHSCORES"));
        let before = (hash(), ends());
        server.advance(5);
        app.get(&token).await;
        assert_eq!((hash(), ends()), before, "get, {command} {change}");
        app.set(&token, r#"{"c":1}"#).await;
        assert_eq!((hash(), ends()), before, "set, {command} {change}");
        app.killall().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wiper_removes_expired_unreadable_records() {
    let server = Server::start_with(Store::Redis, |config| config.wipe = 1).await;
    let namespace = server.config.namespace.clone();
    let app = server.app("forum");
    for (n, (command, change)) in DAMAGE.into_iter().enumerate() {
        let token = app.create_with(&format!("user{n}"), "ttl=10", r#"{"a":1}"#).await;
        redis_server::ask::<i64>(&format!("{command} {namespace}:forum:{token} {change}"));
    }
    server.app("shop").create_with("ann", "ttl=10", "").await;
    server.advance(11);
    // It is not specified whether the wiper counts unreadable records.
    eventually("every key is wiped", async || redis_server::keys(&namespace).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusual_but_valid_records_are_readable() {
    let server = Server::start(Store::Redis).await;
    let namespace = &server.config.namespace;
    let app = server.app("forum");
    for (change, d) in [
        ("d {}", ""),
        ("extra field", r#"{"a":1}"#),
        ("no_resave 0", r#"{"a":1}"#),
        // Beyond 64 bits: read as 999999999999999, the bound of the scripts.
        ("r 99999999999999999999", r#"{"a":1}"#),
        ("w 99999999999999999999", r#"{"a":1}"#),
        ("ttl 99999999999999999999", r#"{"a":1}"#),
        ("la 99999999999999999999", r#"{"a":1}"#),
        ("w 999999999999999", r#"{"a":1}"#),
        (r#"d {"a":1,"b":null}"#, r#"{"a":1,"b":null}"#),
        (r#"d {"\u0061":1}"#, r#"{"\u0061":1}"#),
    ] {
        let token = app.create_with("ann", "", r#"{"a":1}"#).await;
        redis_server::ask::<i64>(&format!("HSET {namespace}:forum:{token} {change}"));
        let session = app.get(&token).await.expect("alive");
        // A value may come back in another spelling of the same JSON.
        if d.is_empty() {
            assert_eq!(session.d(), "", "{change}");
        } else {
            assert_eq!(json(session.d())["a"], 1, "{change}");
        }
        let session = app.set(&token, r#"{"a":2}"#).await.expect("alive");
        assert_eq!(session.d(), r#"{"a":2}"#, "{change}");
        // The record that the first set wrote is readable too.
        let session = app.set(&token, r#"{"a":3}"#).await.expect("alive");
        assert_eq!(session.d(), r#"{"a":3}"#, "{change}");
    }
    assert_eq!(server.metric(UNREADABLE).await, 0);
}
