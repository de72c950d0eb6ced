//! Each kind of disagreement in a namespace of Redis, one server or a cluster, made by hand while a service serves there.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use deadpool_redis::redis::{FromRedisValue, Value};

use super::{check, finds};
use crate::{
    process::{Finished, Process},
    support::{App, START, Server, Store, for_one_store, redis_cluster, redis_server},
};

for_one_store!(
    one_server,
    Redis,
    a_good_namespace_is_found_good,
    missing_and_wrong_entries_are_found,
    entries_without_a_session_are_found,
    what_nobody_can_read_is_found_and_removed,
    keys_of_a_wrong_type_are_found_and_removed
);
for_one_store!(
    cluster,
    Cluster,
    a_good_namespace_is_found_good,
    missing_and_wrong_entries_are_found,
    entries_without_a_session_are_found,
    what_nobody_can_read_is_found_and_removed,
    keys_of_a_wrong_type_are_found_and_removed
);

/// A namespace with a service that is busy there, in an app of its own.
pub(super) struct Busy {
    store: Store,
    pub(super) server: Server,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Busy {
    pub(super) async fn start(store: Store) -> Self {
        let server = Server::start(store).await;
        // It is at work: on a cluster, it has noted the number of shards.
        server.app("busy").create("first").await;
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..3).map(|n| tokio::spawn(client(server.app("busy"), n, stop.clone())));
        let clients = clients.collect();
        Self {
            store,
            server,
            stop,
            clients,
        }
    }

    /// A key that is where a session is. On a cluster, its token begins with the number of its shard.
    pub(super) fn key(&self, token: &str, rest: &str) -> String {
        let namespace = &self.server.config.namespace;
        match self.store {
            Store::Cluster => format!("{{{namespace}:{}}}:{rest}", &token[..2]),
            _ => format!("{namespace}:{rest}"),
        }
    }

    pub(super) fn redis<T: FromRedisValue>(&self, command: &str) -> T {
        match self.store {
            Store::Cluster => redis_cluster::shared().ask(command),
            _ => redis_server::ask(command),
        }
    }

    /// Does something behind the service's back.
    pub(super) fn change(&self, command: &str) {
        let _: Value = self.redis(command);
    }

    pub(super) fn keys(&self) -> Vec<String> {
        let namespace = &self.server.config.namespace;
        match self.store {
            Store::Cluster => redis_cluster::shared().keys(namespace),
            _ => redis_server::keys(namespace),
        }
    }

    pub(super) fn check(&self, args: &[&str]) -> Finished {
        let config = &self.server.config;
        let (urls, shards) = (self.store.urls().expect("it is a Redis"), config.shards.to_string());
        let mode = if self.store == Store::Cluster {
            "cluster"
        } else {
            "single"
        };
        let mut all = vec!["--redis-url", &urls, "--redis-mode", mode];
        all.extend(["--namespace", &config.namespace, "--shards", &shards]);
        all.extend(args);
        check(std::env::temp_dir().as_path(), &all)
    }

    /// Finds `lines`, mends them, and finds nothing any more; says so without a token.
    pub(super) async fn mends(&mut self, lines: &[&str], tokens: &[String]) {
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
        for client in self.clients.drain(..) {
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

async fn a_good_namespace_is_found_good(store: Store) {
    let busy = Busy::start(store).await;
    let app = busy.server.app("forum");
    app.create("a:b:c").await;
    let token = app.create_with("short", "ttl=10&no_resave=1", "").await;
    app.get(&token).await.expect("it is there");
    let key = |rest: &str| busy.key(&token, rest);
    // What live peers do is no disagreement.
    busy.change(&format!("ZADD {} {} {token}:short", key("forum:_sessions"), START + 2));
    busy.change(&format!("HSET {} ttl 5", key(&format!("forum:{token}"))));
    busy.change(&format!("SET {} x", key("others")));
    // An id that is no text is nobody's.
    let script = r"return(redis.call('SADD',KEYS[1]..'\255','x'))";
    busy.change(&format!("EVAL {script} 1 {}", key("forum:us:")));
    let found = busy.check(&[]);
    assert!(found.stdout.ends_with("; 2 other keys left alone\n"), "{found:?}");
    busy.server.advance(100);
    finds(&busy.check(&["--repair"]), 0, &[], false);
    assert_eq!(busy.redis::<String>(&format!("GET {}", key("others"))), "x");
}

async fn missing_and_wrong_entries_are_found(store: Store) {
    let mut busy = Busy::start(store).await;
    let app = busy.server.app("forum");
    let mut tokens = Vec::new();
    for n in 0..9 {
        tokens.push(app.create(&format!("id:{n}")).await);
    }
    let member = |n: usize| format!("{}:id:{n}", tokens[n]);
    let key = |n: usize, rest| busy.key(&tokens[n], rest);
    let (sessions, users) = (|n| key(n, "forum:_sessions"), |n| key(n, "forum:_users"));
    let ends = |n| key(n, "SESSIONS");
    busy.change(&format!("ZREM {} {}", sessions(0), member(0)));
    busy.change(&format!("ZREM {} forum:{}", ends(1), member(1)));
    busy.change(&format!("SREM {} {}", key(2, "forum:us:id:2"), tokens[2]));
    busy.change(&format!("ZREM {} id:3", users(3)));
    busy.change(&format!("ZADD {} {} {}", sessions(4), START + 100, member(4)));
    busy.change(&format!("ZADD {} {} forum:{}", ends(5), START + 7100, member(5)));
    busy.change(&format!("ZADD {} {} forum:{}", ends(6), START + 7300, member(6)));
    busy.change(&format!("ZADD {} {} id:7", users(7), START - 100));
    busy.change(&format!("ZADD {} {} id:8", users(8), START + 1_000_000_000));
    let end = format!("ZSCORE {} forum:{}", ends(5), member(5));
    let lines = [
        r#"session missing from _sessions: app forum, id "id:0", session "#,
        r#"session missing from SESSIONS: app forum, id "id:1", session "#,
        r#"session missing from us:: app forum, id "id:2", session "#,
        r#"session missing from _users: app forum, id "id:3", session "#,
        r#"last activity in _sessions is wrong: app forum, id "id:4", session "#,
        r#"end in SESSIONS is too early: app forum, id "id:5", session "#,
        r#"end in SESSIONS is too late: app forum, id "id:6", session "#,
        r#"last activity in _users is too early: app forum, id "id:7", session "#,
        r#"last activity in _users is in the future: app forum, id "id:8""#,
    ];
    busy.mends(&lines, &tokens).await;
    assert_eq!(busy.redis::<u64>(&end), START + 7200);
    let last = format!("ZSCORE {} id:8", busy.key(&tokens[8], "forum:_users"));
    assert_eq!(busy.redis::<u64>(&last), START);
}

async fn entries_without_a_session_are_found(store: Store) {
    let mut busy = Busy::start(store).await;
    let app = busy.server.app("forum");
    let tokens = [app.create("gone:1").await, app.create("stays").await];
    busy.change(&format!(
        "DEL {}",
        busy.key(&tokens[0], &format!("forum:{}", tokens[0]))
    ));
    // An entry of another id, and members that are none.
    let (sessions, ends) = (
        busy.key(&tokens[1], "forum:_sessions"),
        busy.key(&tokens[1], "SESSIONS"),
    );
    busy.change(&format!("ZADD {sessions} 5 {}:other", tokens[1]));
    busy.change(&format!("ZADD {sessions} 5 nonsense"));
    busy.change(&format!("ZADD {ends} 5 nonsense"));
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

async fn what_nobody_can_read_is_found_and_removed(store: Store) {
    let mut busy = Busy::start(store).await;
    let app = busy.server.app("forum");
    let mut tokens = vec![app.create("number").await, app.create_with("d", "", r#"{"a":1}"#).await];
    // What redis-sessions brings back of a session that is killed while it is read.
    tokens.push(format!("0f{}", "g".repeat(62)));
    let session = |n: usize| busy.key(&tokens[n], &format!("forum:{}", tokens[n]));
    busy.change(&format!("HSET {} r x", session(0)));
    busy.change(&format!(r#"HSET {} d {{"a":[]}}"#, session(1)));
    busy.change(&format!("HSET {} r 1", session(2)));
    let lines = [
        r#"unreadable session: app forum, id "number", session "#,
        r#"unreadable d: app forum, id "d", session "#,
        "unreadable session: app forum, session ",
    ];
    busy.mends(&lines, &tokens).await;
    let left = busy.keys();
    assert!(!left.iter().any(|key| key.contains(":forum:")), "{left:?}");
}

async fn keys_of_a_wrong_type_are_found_and_removed(store: Store) {
    let mut busy = Busy::start(store).await;
    let token = format!("0f{}", "w".repeat(62));
    for rest in [
        "wrong:_sessions",
        "wrong:_users",
        "wrong:us:a:b",
        &format!("wrong:{token}"),
    ] {
        busy.change(&format!("SET {} x", busy.key(&token, rest)));
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activity_that_has_outlived_its_session_is_right_unless_it_is_in_the_future() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, namespace) = (redis_server::url(), redis_server::fresh_namespace());
    let args = ["--redis-url", &url, "--namespace", &namespace];
    let process = Process::start(folder.path(), &args);
    let app = process.app();
    app.create("ann").await;
    let users = format!("{namespace}:test-app:_users");
    let last: u64 = redis_server::ask(&format!("ZSCORE {users} ann"));
    // Another session may have been active then, by a clock that is a little ahead.
    for (later, wrong) in [(600, false), (10_000_000, true)] {
        let _: u64 = redis_server::ask(&format!("ZADD {users} {} ann", last + later));
        let lines: &[&str] = if wrong {
            &[r#"last activity in _users is in the future: app test-app, id "ann""#]
        } else {
            &[]
        };
        finds(&check(folder.path(), &args), i32::from(wrong), lines, false);
        finds(
            &check(folder.path(), &[&args[..], &["--repair"]].concat()),
            0,
            lines,
            true,
        );
        let expected = if wrong { last } else { last + later };
        assert_eq!(redis_server::ask::<u64>(&format!("ZSCORE {users} ann")), expected);
    }
    process.stop();
}
