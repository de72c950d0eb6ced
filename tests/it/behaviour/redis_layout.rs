//! Tests of the keys in Redis: byte for byte as redis-sessions peers write and expect them.

use std::{collections::BTreeMap, time::Duration};

use rest_sessions::config::{Config, DurationArg};

use crate::support::{App, START, Server, Store, eventually, redis_server};

type Scores = Vec<(String, u64)>;

struct Layout {
    server: Server,
    app: App,
    namespace: String,
}

impl Layout {
    async fn start() -> Self {
        let at_once = |config: &mut Config| config.touch = DurationArg(Duration::ZERO);
        let server = Server::start_with(Store::Redis, at_once).await;
        Self {
            app: server.app("forum"),
            namespace: server.config.namespace.clone(),
            server,
        }
    }

    fn keys(&self) -> Vec<String> {
        redis_server::keys(&self.namespace)
    }

    /// The fields of a session's hash.
    fn hash(&self, token: &str) -> BTreeMap<String, String> {
        redis_server::ask(&format!("HGETALL {}:forum:{token}", self.namespace))
    }

    /// The members of a sorted set with their scores.
    fn scores(&self, key: &str) -> Scores {
        redis_server::ask(&format!("ZRANGE {}:{key} 0 -1 WITHSCORES", self.namespace))
    }

    fn assert_scores(&self, token: &str, active: u64, end: u64) {
        assert_eq!(self.scores("forum:_sessions"), [(format!("{token}:a:b"), active)]);
        assert_eq!(self.scores("forum:_users"), [("a:b".to_owned(), active)]);
        assert_eq!(self.scores("SESSIONS"), [(format!("forum:{token}:a:b"), end)]);
    }

    fn assert_hash<const N: usize>(&self, token: &str, fields: [(&str, &str); N]) {
        let expected = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(self.hash(token), BTreeMap::from(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_namespace_is_rs() {
    assert_eq!(Config::default().namespace, "rs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_use_restores_a_lost_set_of_tokens() {
    let at_once = Layout::start().await;
    let later = Server::start_with(Store::Redis, |config| {
        config.touch = DurationArg(Duration::from_millis(50));
    })
    .await;
    for server in [&at_once.server, &later] {
        let app = server.app("forum");
        let tokens = format!("{}:forum:us:ann", server.config.namespace);
        let lose = || assert_eq!(redis_server::ask::<u64>(&format!("DEL {tokens}")), 1);
        let token = app.create("ann").await;
        lose();
        app.set(&token, r#"{"a":1}"#).await.expect("alive");
        assert_eq!(app.soid("ann").await.len(), 1);
        lose();
        server.advance(1);
        app.get(&token).await.expect("alive");
        eventually("the read is flushed", async || {
            redis_server::ask::<u64>(&format!("EXISTS {tokens}")) == 1
        })
        .await;
        assert_eq!(app.killsoid("ann").await, 1);
        assert!(app.get(&token).await.is_none());
        assert_eq!(redis_server::keys(&server.config.namespace), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_get_set_and_kill_write_the_layout_of_a_peer() {
    let layout = Layout::start().await;
    let Layout { server, app, namespace } = &layout;
    let token = app.create_with("a:b", "ttl=600", r#"{"x":1,"y":"é"}"#).await;
    let mut keys = vec![
        format!("{namespace}:SESSIONS"),
        format!("{namespace}:forum:_sessions"),
        format!("{namespace}:forum:_users"),
        format!("{namespace}:forum:us:a:b"),
        format!("{namespace}:forum:{token}"),
    ];
    keys.sort_unstable();
    assert_eq!(layout.keys(), keys);
    let plain = [("id", "a:b"), ("ip", "127.0.0.1"), ("ttl", "600")];
    let fields = |r, w, la, d| [plain[0], plain[1], plain[2], ("r", r), ("w", w), ("la", la), ("d", d)];
    layout.assert_hash(&token, fields("1", "1", "1800000000", r#"{"x":1,"y":"é"}"#));
    layout.assert_scores(&token, START, START + 600);
    let tokens: Vec<String> = redis_server::ask(&format!("SMEMBERS {namespace}:forum:us:a:b"));
    assert_eq!(tokens, [token.as_str()]);

    server.advance(5);
    app.get(&token).await.expect("alive");
    layout.assert_hash(&token, fields("2", "1", "1800000005", r#"{"x":1,"y":"é"}"#));
    layout.assert_scores(&token, START + 5, START + 605);

    server.advance(7);
    app.set(&token, r#"{"x":9007199254740993,"z":true}"#)
        .await
        .expect("alive");
    layout.assert_hash(
        &token,
        fields("2", "2", "1800000012", r#"{"x":9007199254740993,"y":"é","z":true}"#),
    );
    layout.assert_scores(&token, START + 12, START + 612);

    // No key has a Redis TTL: a Node peer's get would not renew it.
    for key in &keys {
        assert_eq!(redis_server::ask::<i64>(&format!("TTL {key}")), -1, "{key}");
    }
    assert_eq!(layout.keys(), keys);
    app.kill(&token).await;
    assert_eq!(layout.keys(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_has_the_type_that_peers_expect() {
    let layout = Layout::start().await;
    let token = layout.app.create("ann").await;
    for (key, expected) in [
        ("SESSIONS", "zset"),
        ("forum:_sessions", "zset"),
        ("forum:_users", "zset"),
        ("forum:us:ann", "set"),
        (format!("forum:{token}").as_str(), "hash"),
    ] {
        let found: String = redis_server::ask(&format!("TYPE {}:{key}", layout.namespace));
        assert_eq!(found, expected, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hash_has_a_d_only_while_it_has_keys() {
    let layout = Layout::start().await;
    let token = layout.app.create("a:b").await;
    let rest = [
        ("id", "a:b"),
        ("ip", "127.0.0.1"),
        ("ttl", "7200"),
        ("r", "1"),
        ("la", "1800000000"),
    ];
    let [id, ip, ttl, r, la] = rest;
    layout.assert_hash(&token, [id, ip, ttl, r, la, ("w", "1")]);
    layout.app.set(&token, r#"{"x":1}"#).await.expect("alive");
    layout.assert_hash(&token, [id, ip, ttl, r, la, ("w", "2"), ("d", r#"{"x":1}"#)]);
    layout.app.set(&token, r#"{"x":null}"#).await.expect("alive");
    layout.assert_hash(&token, [id, ip, ttl, r, la, ("w", "3")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_compute_the_same_end_of_a_no_resave_session() {
    let layout = Layout::start().await;
    let Layout { server, app, .. } = &layout;
    let token = app.create_with("a:b", "ttl=100&no_resave=1", "").await;
    assert_eq!(layout.hash(&token)["no_resave"], "1");
    let mut active = START;
    for pause in [30, 0, 1, 68] {
        server.advance(pause);
        active += pause;
        app.get(&token).await.expect("alive");
        app.set(&token, r#"{"x":1}"#).await.expect("alive");
        let hash = layout.hash(&token);
        let number = |field: &str| hash[field].parse::<u64>().expect("a number");
        // A peer computes the end as `la + ttl`, so both fields have to change together.
        assert_eq!((number("la"), number("la") + number("ttl")), (active, START + 100));
        assert_eq!(hash["no_resave"], "1");
        layout.assert_scores(&token, active, START + 100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_stays_in_users_until_its_last_session_is_killed() {
    let layout = Layout::start().await;
    let Layout { server, app, namespace } = &layout;
    let [kept, killed] = [app.create("a:b").await, app.create("a:b").await];
    server.advance(5);
    app.get(&killed).await.expect("alive");
    app.kill(&killed).await;
    assert_eq!(layout.scores("forum:_users"), [("a:b".to_owned(), START + 5)]);
    assert_eq!(layout.scores("forum:_sessions"), [(format!("{kept}:a:b"), START)]);
    assert_eq!(layout.scores("SESSIONS"), [(format!("forum:{kept}:a:b"), START + 7200)]);
    let tokens: Vec<String> = redis_server::ask(&format!("SMEMBERS {namespace}:forum:us:a:b"));
    assert_eq!(tokens, [kept.as_str()]);
    app.kill(&kept).await;
    assert_eq!(layout.keys(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killsoid_and_killall_leave_no_keys() {
    let layout = Layout::start().await;
    for id in ["ann", "ann", "bob", "a:b"] {
        layout.app.create_with(id, "", r#"{"x":1}"#).await;
    }
    layout.app.killsoid("ann").await;
    assert!(layout.keys().iter().all(|key| !key.contains("ann")));
    let left: Vec<_> = layout
        .scores("SESSIONS")
        .into_iter()
        .map(|(member, _)| member)
        .collect();
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|member| !member.contains("ann")), "{left:?}");
    assert_eq!(layout.scores("forum:_sessions").len(), 2);
    assert_eq!(layout.scores("forum:_users").len(), 2);
    layout.app.killall().await;
    assert_eq!(layout.keys(), [""; 0]);
}

/// A session as redis-sessions itself writes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_uses_a_session_that_a_peer_wrote() {
    let layout = Layout::start().await;
    let Layout { app, namespace, .. } = &layout;
    let token = "p".repeat(64);
    let end = START + 60;
    for command in [
        format!(r#"HSET {namespace}:forum:{token} id a:b r 3 w 2 ip ::1 la {START} ttl 60 d {{"x":1}}"#),
        format!("ZADD {namespace}:forum:_sessions {START} {token}:a:b"),
        format!("ZADD {namespace}:forum:_users {START} a:b"),
        format!("ZADD {namespace}:SESSIONS {end} forum:{token}:a:b"),
        format!("SADD {namespace}:forum:us:a:b {token}"),
    ] {
        redis_server::ask::<i64>(&command);
    }
    layout.server.advance(10);
    assert_eq!(
        (
            app.soid("a:b").await.len(),
            app.soapp(60).await.len(),
            app.activity(60).await
        ),
        (1, 1, 1)
    );
    let session = app.get(&token).await.expect("alive");
    assert_eq!(
        (session.id.as_str(), session.ip.as_str(), session.d()),
        ("a:b", "::1", r#"{"x":1}"#)
    );
    assert_eq!((session.r, session.w, session.ttl, session.idle), (3, 2, 60, 10));
    assert_eq!(app.set(&token, r#"{"x":2}"#).await.expect("alive").w, 3);
    layout.assert_scores(&token, START + 10, START + 70);
    assert_eq!(app.kill(&token).await, 1);
    assert_eq!(layout.keys(), [""; 0]);
}
