//! Tests of `check` on Redis, one server and a cluster: each kind of disagreement is made by hand while a service is
//! under load in the same namespace.

use super::{busy_namespace::BusyNamespace, check, finds};
use crate::{
    process::Process,
    support::{START, Store, for_one_store, redis_server},
};

for_one_store!(
    one_server,
    Redis,
    check_finds_nothing_in_a_consistent_namespace,
    check_finds_missing_and_wrong_entries,
    check_finds_entries_without_a_session,
    check_finds_and_removes_unreadable_records,
    check_finds_and_removes_keys_of_a_wrong_type
);
for_one_store!(
    cluster,
    Cluster,
    check_finds_nothing_in_a_consistent_namespace,
    check_finds_missing_and_wrong_entries,
    check_finds_entries_without_a_session,
    check_finds_and_removes_unreadable_records,
    check_finds_and_removes_keys_of_a_wrong_type
);

async fn check_finds_nothing_in_a_consistent_namespace(store: Store) {
    let busy = BusyNamespace::start(store).await;
    let app = busy.server.app("forum");
    app.create("a:b:c").await;
    let token = app.create_with("short", "ttl=10&no_resave=1", "").await;
    app.get(&token).await.expect("alive");
    let key = |rest: &str| busy.key(&token, rest);
    // Live peers leave such entries, so they are no disagreement.
    busy.change(&format!("ZADD {} {} {token}:short", key("forum:_sessions"), START + 2));
    busy.change(&format!("HSET {} ttl 5", key(&format!("forum:{token}"))));
    busy.change(&format!("SET {} x", key("others")));
    // A key whose id is not UTF-8 belongs to no session.
    let script = r"return(redis.call('SADD',KEYS[1]..'\255','x'))";
    busy.change(&format!("EVAL {script} 1 {}", key("forum:us:")));
    let found = busy.check(&[]);
    assert!(found.stdout.ends_with("; 2 other keys left alone\n"), "{found:?}");
    busy.server.advance(100);
    finds(&busy.check(&["--repair"]), 0, &[], false);
    assert_eq!(busy.redis::<String>(&format!("GET {}", key("others"))), "x");
}

async fn check_finds_missing_and_wrong_entries(store: Store) {
    let mut busy = BusyNamespace::start(store).await;
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
    busy.assert_repairs(&lines, &tokens).await;
    assert_eq!(busy.redis::<u64>(&end), START + 7200);
    let last = format!("ZSCORE {} id:8", busy.key(&tokens[8], "forum:_users"));
    assert_eq!(busy.redis::<u64>(&last), START);
}

async fn check_finds_entries_without_a_session(store: Store) {
    let mut busy = BusyNamespace::start(store).await;
    let app = busy.server.app("forum");
    let tokens = [app.create("gone:1").await, app.create("stays").await];
    busy.change(&format!(
        "DEL {}",
        busy.key(&tokens[0], &format!("forum:{}", tokens[0]))
    ));
    // An entry with another id, and members that do not parse.
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
    busy.assert_repairs(&lines, &tokens).await;
}

async fn check_finds_and_removes_unreadable_records(store: Store) {
    let mut busy = BusyNamespace::start(store).await;
    let app = busy.server.app("forum");
    let mut tokens = vec![app.create("number").await, app.create_with("d", "", r#"{"a":1}"#).await];
    // redis-sessions leaves such a hash when a session is killed while it is read.
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
    busy.assert_repairs(&lines, &tokens).await;
    let left = busy.keys();
    assert!(!left.iter().any(|key| key.contains(":forum:")), "{left:?}");
}

async fn check_finds_and_removes_keys_of_a_wrong_type(store: Store) {
    let mut busy = BusyNamespace::start(store).await;
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
    busy.assert_repairs(&lines, &[token]).await;
}

#[test]
fn check_reports_an_unreachable_redis_in_one_line() {
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
async fn check_accepts_activity_without_a_session_unless_it_is_in_the_future() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, namespace) = (redis_server::url(), redis_server::fresh_namespace());
    let args = ["--redis-url", &url, "--namespace", &namespace];
    let process = Process::start(folder.path(), &args);
    let app = process.app();
    app.create("ann").await;
    let users = format!("{namespace}:test-app:_users");
    let last: u64 = redis_server::ask(&format!("ZSCORE {users} ann"));
    // 600 s ahead is right: another session may have been active then, by a clock that runs a little ahead.
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
