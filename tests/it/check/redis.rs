//! Each kind of disagreement in a namespace of Redis, made by hand while a service serves there.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{check, finds};
use crate::{
    process::Finished,
    support::{App, START, Server, Store, redis_server},
};

/// A namespace with a service that is busy there, in an app of its own.
struct Busy {
    server: Server,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Busy {
    async fn start() -> Self {
        let server = Server::start(Store::Redis).await;
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..3).map(|n| tokio::spawn(client(server.app("busy"), n, stop.clone())));
        let clients = clients.collect();
        Self { server, stop, clients }
    }

    fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.server.config.namespace)
    }

    fn check(&self, args: &[&str]) -> Finished {
        let (url, namespace) = (redis_server::url(), &self.server.config.namespace);
        let args = [&["--redis-url", &url, "--namespace", namespace], args].concat();
        check(std::env::temp_dir().as_path(), &args)
    }

    /// Finds `lines`, mends them, and finds nothing any more; says so without a token.
    async fn mends(self, lines: &[&str], tokens: &[String]) {
        for _ in 0..2 {
            let found = self.check(&[]);
            finds(&found, 1, lines, false);
            let told = |token: &String| found.stdout.contains(token.as_str());
            assert!(!tokens.iter().any(told), "a token: {found:?}");
        }
        finds(&self.check(&["--repair"]), 0, lines, true);
        finds(&self.check(&[]), 0, &[], false);
        finds(&self.check(&["--repair"]), 0, &[], false);
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("no panic");
        }
        assert_eq!(self.server.metric("rest_sessions_unreadable_records_total").await, 0);
    }
}

/// Creates, changes and kills, and is answered as if nobody checked.
async fn client(app: App, n: usize, stop: Arc<AtomicBool>) {
    let mut rounds = 0;
    let kept = app.create_with(&format!("kept:{n}"), "", r#"{"a":1}"#).await;
    // A slow machine is no reason to have seen nothing.
    while rounds < 3 || !stop.load(Ordering::Relaxed) {
        rounds += 1;
        let id = format!("user:{n}:{}", rounds % 3);
        let token = app.create(&id).await;
        let set = app
            .set(&token, format!(r#"{{"rounds":{rounds}}}"#))
            .await
            .expect("it is there");
        assert_eq!((set.w, set.d()), (2, format!(r#"{{"rounds":{rounds}}}"#).as_str()));
        assert!(app.get(&kept).await.is_some() && app.get(&token).await.is_some());
        assert_eq!(app.soid(&id).await.len(), 1);
        assert_eq!(app.kill(&token).await, 1);
    }
}

fn redis(command: &str) {
    let _: deadpool_redis::redis::Value = redis_server::ask(command);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_namespace_is_found_good() {
    let busy = Busy::start().await;
    let app = busy.server.app("forum");
    app.create("a:b:c").await;
    let token = app.create_with("short", "ttl=10&no_resave=1", "").await;
    app.get(&token).await.expect("it is there");
    // What live peers do is no disagreement.
    let member = format!("{token}:short");
    redis(&format!("ZADD {} {} {member}", busy.key("forum:_sessions"), START + 2));
    redis(&format!("HSET {} ttl 5", busy.key(&format!("forum:{token}"))));
    redis(&format!("SET {} x", busy.key("others")));
    let found = busy.check(&[]);
    assert!(found.stdout.ends_with("; 1 other keys left alone\n"), "{found:?}");
    busy.server.advance(100);
    finds(&busy.check(&["--repair"]), 0, &[], false);
    let left: String = redis_server::ask(&format!("GET {}", busy.key("others")));
    assert_eq!(left, "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_and_wrong_entries_are_found() {
    let busy = Busy::start().await;
    let app = busy.server.app("forum");
    let mut tokens = Vec::new();
    for n in 0..8 {
        tokens.push(app.create(&format!("id:{n}")).await);
    }
    let member = |n: usize| format!("{}:id:{n}", tokens[n]);
    let (sessions, users, ends) = (
        busy.key("forum:_sessions"),
        busy.key("forum:_users"),
        busy.key("SESSIONS"),
    );
    redis(&format!("ZREM {sessions} {}", member(0)));
    redis(&format!("ZREM {ends} forum:{}", member(1)));
    redis(&format!("SREM {} {}", busy.key("forum:us:id:2"), tokens[2]));
    redis(&format!("ZREM {users} id:3"));
    redis(&format!("ZADD {sessions} {} {}", START + 100, member(4)));
    redis(&format!("ZADD {ends} {} forum:{}", START + 7100, member(5)));
    redis(&format!("ZADD {ends} {} forum:{}", START + 7300, member(6)));
    redis(&format!("ZADD {users} {} id:7", START - 100));
    let lines = [
        r#"session missing from _sessions: app forum, id "id:0", session "#,
        r#"session missing from SESSIONS: app forum, id "id:1", session "#,
        r#"session missing from us:: app forum, id "id:2", session "#,
        r#"session missing from _users: app forum, id "id:3", session "#,
        r#"last activity in _sessions is wrong: app forum, id "id:4", session "#,
        r#"end in SESSIONS is too early: app forum, id "id:5", session "#,
        r#"end in SESSIONS is too late: app forum, id "id:6", session "#,
        r#"last activity in _users is too early: app forum, id "id:7", session "#,
    ];
    busy.mends(&lines, &tokens).await;
    let score: u64 = redis_server::ask(&format!("ZSCORE {ends} forum:{}", member(5)));
    assert_eq!(score, START + 7200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_without_a_session_are_found() {
    let busy = Busy::start().await;
    let app = busy.server.app("forum");
    let tokens = [app.create("gone:1").await, app.create("stays").await];
    redis(&format!("DEL {}", busy.key(&format!("forum:{}", tokens[0]))));
    // An entry of another id, and members that are none.
    redis(&format!("ZADD {} 5 {}:other", busy.key("forum:_sessions"), tokens[1]));
    redis(&format!("ZADD {} 5 nonsense", busy.key("forum:_sessions")));
    redis(&format!("ZADD {} 5 nonsense", busy.key("SESSIONS")));
    let lines = [
        r#"entry of _sessions without a session: app forum, id "gone:1", session "#,
        r#"entry of SESSIONS without a session: app forum, id "gone:1", session "#,
        r#"entry of us: without a session: app forum, id "gone:1", session "#,
        r#"entry of _users without a session: app forum, id "gone:1""#,
        r#"entry of _sessions without a session: app forum, id "other", session "#,
        "entry of _sessions without a session: app forum, session ",
        "entry of SESSIONS without a session: no app, session ",
    ];
    busy.mends(&lines, &tokens).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_read_is_found_and_removed() {
    let busy = Busy::start().await;
    let app = busy.server.app("forum");
    let mut tokens = vec![app.create("number").await, app.create_with("d", "", r#"{"a":1}"#).await];
    let session = |token: &str| busy.key(&format!("forum:{token}"));
    redis(&format!("HSET {} r x", session(&tokens[0])));
    redis(&format!(r#"HSET {} d {{"a":[]}}"#, session(&tokens[1])));
    // What redis-sessions brings back of a session that is killed while it is read.
    tokens.push("g".repeat(64));
    redis(&format!("HSET {} r 1", session(&tokens[2])));
    let namespace = busy.server.config.namespace.clone();
    let lines = [
        r#"hash that makes no session: app forum, id "number", session "#,
        r#"unreadable d: app forum, id "d", session "#,
        "hash that makes no session: app forum, session ",
    ];
    busy.mends(&lines, &tokens).await;
    let left = redis_server::keys(&namespace);
    assert!(!left.iter().any(|key| key.contains(":forum:")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_wrong_type_are_found_and_removed() {
    let busy = Busy::start().await;
    let token = "w".repeat(64);
    redis(&format!("SET {} x", busy.key("wrong:_sessions")));
    redis(&format!("SET {} x", busy.key("wrong:_users")));
    redis(&format!("SET {} x", busy.key("wrong:us:a:b")));
    redis(&format!("SET {} x", busy.key(&format!("wrong:{token}"))));
    let lines = [
        "_sessions is of a wrong type: app wrong",
        "_users is of a wrong type: app wrong",
        r#"us: is of a wrong type: app wrong, id "a:b""#,
        "session is of a wrong type: app wrong, session ",
    ];
    busy.mends(&lines, &[token]).await;
}

#[test]
fn a_redis_that_is_away_is_told_in_one_line() {
    let found = check(
        std::env::temp_dir().as_path(),
        &["--redis-url", "redis://:secret@127.0.0.1:1"],
    );
    let line = found.refusal(2);
    assert!(
        line.starts_with("cannot check Redis: ") && !line.contains("secret"),
        "{line}"
    );
}
