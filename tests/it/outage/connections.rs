//! The ways to a Redis: users, passwords in files, databases, sockets. What is wrong is told in one line, without secrets.

use std::{fs, sync::Arc};

use deadpool_redis::redis::Value;

use super::{Redis, all_unavailable, all_well, stop, tls::certificates};
use crate::{
    check::{check, finds},
    process::{Process, finish},
    support::{NO_TOKEN, eventually, redis_server},
};

/// What a user of Redis has to be allowed; docs/scaling.md says the same.
const RIGHTS: &str = "~rs:* resetchannels &rs:cache -@all +ping +time +hello +select +role +hmget +zcount +evalsha +eval +hset +hdel +del +exists \
                      +zadd +zrem +zrange +zrangebyscore +zrevrange +sadd +srem +smembers +sismember +srandmember +sscan +scard +spop \
                      +publish +subscribe +wait";

/// What a check needs besides.
const CHECK: &str = "+scan +zscan +type +hget +zscore";

#[test]
fn the_rights_are_those_of_the_documentation() {
    let page = include_str!("../../../docs/scaling.md").replace("\\\n", "");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let rights = RIGHTS.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains(&rights) && page.contains(CHECK), "{rights}");
}

/// A Redis on which only the user `sessions` may do anything, and nothing but what the service needs.
fn with_user() -> Redis {
    let redis = Redis::running();
    let rights: Vec<_> = RIGHTS.split_whitespace().collect();
    let () = redis.ask(&format!("ACL SETUSER sessions on >opensesame {}", rights.join(" ")));
    redis
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_needs_only_these_rights() {
    let redis = with_user();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("secret"), "opensesame\nnotes\n").expect("a file");
    let url = redis.url();
    let mut args = vec!["--redis-url", &url, "--redis-username", "sessions", "--touch", "0.05"];
    args.extend(["--cachetime", "60"]);
    for password in [
        ("RS_REDIS_PASSWORD", "opensesame"),
        ("RS_REDIS_PASSWORD_FILE", "secret"),
    ] {
        let mut command = Process::command(folder.path(), &args);
        command
            .env(password.0, password.1)
            .args(["--loglevel", "trace", "--wipe", "10"]);
        let process = Arc::new(Process::spawn(command));
        all_well(&process).await;
        // Several at once, so that killall has something to do.
        let app = process.app();
        for n in 0..3 {
            app.create(&format!("user-{n}")).await;
        }
        // Only who may listen gets an answer from memory.
        let token = app.create("reader").await;
        eventually("the near cache is in use", async || {
            app.get(&token).await.expect("alive");
            let metrics = process.ask("GET", "/metrics", "").await.body;
            !metrics.contains(r#"near_cache_total{result="hit"} 0"#)
        })
        .await;
        assert!(app.killall().await >= 4);
        drop(app);
        let log = stop(process);
        assert!(!log.contains("opensesame") && !log.contains("NOPERM"), "{log}");
    }
    let denied: Vec<Value> = redis.ask("ACL LOG");
    assert!(denied.is_empty(), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_without_all_rights_leaves_nothing_behind() {
    let redis = with_user();
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["--redis-url", &redis.url(), "--redis-username", "sessions"];
    let mut command = Process::command(folder.path(), &args);
    command.env("RS_REDIS_PASSWORD", "opensesame");
    let process = Process::spawn(command);
    for right in ["hset", "sadd", "zadd"] {
        let () = redis.ask(&format!("ACL SETUSER sessions -{right}"));
        let answer = process.ask("PUT", "/shop/create/ann?ip=10.0.0.1", "").await;
        answer.refused(503, "storeUnavailable", "The session store is not available");
        let keys: Vec<String> = redis.ask("KEYS *");
        assert!(keys.is_empty(), "without {right}: {keys:?}");
        let () = redis.ask(&format!("ACL SETUSER sessions +{right}"));
    }
    process.app().create("ann").await;
    process.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_needs_a_few_rights_more() {
    let redis = with_user();
    let folder = tempfile::tempdir().expect("a folder");
    let url = redis.url().replace("//", "//sessions:opensesame@");
    let process = Process::start(folder.path(), &["--redis-url", &url]);
    let app = process.app();
    let tokens = [app.create("ann").await, app.create("ben").await];
    process.stop();
    let all: Vec<_> = CHECK.split(' ').collect();
    // With one too few it does not see all, and must not take for missing what it does not see.
    for missing in &all {
        let others: Vec<_> = all.iter().filter(|right| *right != missing).copied().collect();
        let () = redis.ask(&format!(
            "ACL SETUSER sessions {} {}",
            others.join(" "),
            missing.replace('+', "-")
        ));
        let found = check(folder.path(), &["--redis-url", &url, "--repair"]);
        let line = found.refusal(2);
        assert!(
            line.starts_with("cannot check Redis: ") && !line.contains("opensesame"),
            "{line}"
        );
        let name = missing.trim_start_matches('+');
        // Of a command in a script, not every version says which one it is.
        let of_a_script = "NOPERM: no permission to run a command in a script";
        let told = [&format!("NOPERM: no permission to run {name}"), of_a_script];
        assert!(told.iter().any(|why| line.ends_with(why)), "{line}");
        let denied = format!("{:?}", redis.ask::<Value>("ACL LOG 1"));
        assert!(denied.contains(name), "{missing}: {denied}");
    }
    let () = redis.ask(&format!("ACL SETUSER sessions {CHECK}"));
    let look = |args: &[&str]| check(folder.path(), &[&["--redis-url", &url], args].concat());
    finds(&look(&[]), 0, &[], false);
    let _: u64 = redis.ask(&format!("DEL rs:test-app:{}", tokens[0]));
    let _: u64 = redis.ask(&format!("HSET rs:test-app:{} d x", tokens[1]));
    let _: Value = redis.ask("SET rs:forum:_users x");
    let lines = [
        "_users is of a wrong type: app forum",
        r#"unreadable d: app test-app, id "ben", session "#,
        r#"entry of us: without a session: app test-app, id "ann", session "#,
        r#"entry of _users without a session: app test-app, id "ann""#,
        r#"entry of _sessions without a session: app test-app, id "ann", session "#,
        r#"entry of SESSIONS without a session: app test-app, id "ann", session "#,
    ];
    finds(&look(&["--repair"]), 0, &lines, true);
}

/// The one line that says why, after every request was refused in time.
async fn refused(args: &[&str], says: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut all = vec!["--loglevel", "trace", "--timeout", "1"];
    all.extend(args);
    let process = Arc::new(Process::start(folder.path(), &all));
    all_unavailable(&process, NO_TOKEN).await;
    let log = stop(process);
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" WARN ") && line.contains("Redis"))
        .collect();
    let told = |line: &&&str| says.iter().any(|word| line.to_lowercase().contains(word));
    assert!(lines.iter().any(|line| told(&line)), "{says:?}: {log}");
    assert!(!log.contains("sesame"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_in_a_line() {
    let redis = with_user();
    let url = redis.url();
    refused(
        &[
            "--redis-url",
            &url,
            "--redis-username",
            "sessions",
            "--redis-password",
            "wrongsesame",
        ],
        &["wrongpass"],
    )
    .await;
    refused(
        &[
            "--redis-url",
            &url,
            "--redis-username",
            "nobody",
            "--redis-password",
            "opensesame",
        ],
        &["wrongpass"],
    )
    .await;
    refused(
        &["--redis-url", "redis://no-such-host.invalid"],
        &["name", "address", "resol", "lookup"],
    )
    .await;
    refused(&["--redis-url", "redis+unix:///no/such/socket"], &["no such file"]).await;
    let plain = Redis::running();
    refused(
        &["--redis-url", &format!("{}/99", plain.url())],
        &["index is out of range"],
    )
    .await;
    let sentinel = ["--redis-mode", "sentinel", "--redis-url", &plain.url()];
    refused(&sentinel, &["the server is not a sentinel"]).await;
    let found = check(&std::env::temp_dir(), &sentinel);
    let line = format!(
        "cannot check Redis: no sentinel gave the address of the master: 127.0.0.1:{} without TLS: the server is not a sentinel",
        plain.port()
    );
    assert_eq!(found.refusal(2), line);
}

#[test]
fn a_check_of_a_frozen_redis_ends_in_time() {
    let redis = redis_server::start(&[]).expect("a Redis");
    redis.freeze();
    let found = check(
        &std::env::temp_dir(),
        &["--redis-url", &redis.url(), "--timeout", "0.5"],
    );
    redis.thaw();
    let why = format!(
        "cannot check Redis: cannot connect to 127.0.0.1:{} without TLS: no answer in time",
        redis.port
    );
    assert_eq!(found.refusal(2), why);
}

#[test]
fn a_check_tells_where_it_found_nobody() {
    let refused = |url: &str| {
        let found = check(&std::env::temp_dir(), &["--redis-url", url]);
        found.refusal(2).to_owned()
    };
    // Nobody listens on port 1. Which addresses localhost has differs.
    let line = refused("redis://localhost:1");
    assert!(
        line.starts_with("cannot check Redis: cannot connect to localhost:1 without TLS: ")
            && line.to_lowercase().contains("127.0.0.1: connection refused"),
        "{line}"
    );
    let line = refused("redis://no-such-host.invalid");
    assert!(
        line.starts_with("cannot check Redis: cannot connect to no-such-host.invalid:6379 without TLS: "),
        "{line}"
    );
}

#[test]
fn what_makes_no_sense_ends_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("secret"), "opensesame\n").expect("a file");
    fs::write(folder.path().join("empty"), "\n").expect("a file");
    certificates(folder.path());
    let redis = ["--redis-url", "redis://127.0.0.1:1"];
    let tls = ["--redis-url", "rediss://127.0.0.1:1"];
    for (base, args, names) in [
        (
            redis,
            &["--redis-password", "a", "--redis-password-file", "secret"][..],
            "--redis-password-file",
        ),
        (redis, &["--redis-password-file", "nowhere"], "nowhere"),
        (redis, &["--redis-password-file", "empty"], "empty"),
        (redis, &["--redis-ca", "ca.pem"], "rediss://"),
        (tls, &["--redis-ca", "nowhere"], "nowhere"),
        (tls, &["--redis-cert", "secret"], "--redis-key"),
        (
            tls,
            &["--redis-cert", "secret", "--redis-key", "secret"],
            "certificates",
        ),
        (["--redis-url", "redis://a,redis://b"], &[], "--redis-mode"),
        (["--redis-url", ","], &[], "URL"),
        (["--redis-url", "redis://:op/ensesame@127.0.0.1:1"], &[], "%2F"),
        (["--redis-url", "redis://127.0.0.1:1,127.0.0.1:2"], &[], "%2C"),
        (redis, &["--redis-master-tls", "on"], "--redis-master-tls"),
        (
            ["--redis-url", "redis://127.0.0.1:1/2"],
            &["--redis-mode", "cluster"],
            "database",
        ),
        (["--redis-url", "redis://127.0.0.1:1/-1"], &[], "number of a database"),
        (["--redis-url", "redis+unix:///a?db=-1"], &[], "number of a database"),
        (
            ["--redis-url", "redis://127.0.0.1:1,redis://127.0.0.1:2/2"],
            &["--redis-mode", "cluster"],
            "database",
        ),
        (
            ["--redis-url", "redis://127.0.0.1:1,rediss://127.0.0.1:2"],
            &["--redis-mode", "cluster"],
            "rediss://",
        ),
        (
            [
                "--redis-url",
                "redis://:sesame@127.0.0.1:1,redis://:opensesame@127.0.0.1:2",
            ],
            &["--redis-mode", "cluster"],
            "password",
        ),
        (
            ["--redis-url", "redis://a:sesame@h:1,redis://h:2,redis://b:sesame@h:3"],
            &["--redis-mode", "cluster"],
            "user",
        ),
        (tls, &["--redis-ca", "secret"], "secret holds no certificate"),
        (
            ["--redis-url", "redis+unix:///a"],
            &["--redis-mode", "cluster"],
            "socket",
        ),
        (
            ["--redis-url", "redis+unix:///a"],
            &["--redis-mode", "sentinel"],
            "socket",
        ),
    ] {
        let mut all = base.to_vec();
        all.extend(args);
        let finished = finish(Process::command(folder.path(), &all));
        let line = finished.refusal(2);
        assert!(line.contains(names) && !line.contains("sesame"), "{all:?}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_chosen() {
    let redis = Redis::running();
    let folder = tempfile::tempdir().expect("a folder");
    let process = Arc::new(Process::start(
        folder.path(),
        &["--redis-url", &format!("{}/3", redis.url())],
    ));
    all_well(&process).await;
    let keyspace: String = redis.ask("INFO keyspace");
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_reached() {
    let redis = Redis::with(&["--unixsocket", "redis.sock"]);
    let folder = tempfile::tempdir().expect("a folder");
    let socket = redis.folder().join("redis.sock");
    for url in [
        format!("redis+unix://{}", socket.display()),
        format!("redis+unix://{}?db=2", socket.display()),
    ] {
        let process = Arc::new(Process::start(folder.path(), &["--redis-url", &url]));
        all_well(&process).await;
        stop(process);
    }
    let keyspace: String = redis.ask("INFO keyspace");
    assert!(keyspace.contains("db0:") && keyspace.contains("db2:"), "{keyspace}");
}
