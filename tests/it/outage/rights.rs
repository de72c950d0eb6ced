//! The rights of a Redis user: the documented ones are enough, and a missing one leaves no partial change behind.

use std::{fs, sync::Arc};

use deadpool_redis::redis::Value;

use super::{Redis, assert_all_succeed, stop};
use crate::{
    check::{check, finds},
    process::Process,
    support::eventually,
};

/// The rights that the service needs of a Redis user, as docs/redis.md lists them.
const RIGHTS: &str = "~rs:* resetchannels &rs:cache -@all +ping +time +hello +select +role +hmget +zcount +evalsha +eval +hset +hdel +del +exists \
                      +zadd +zrem +zrange +zrangebyscore +zrevrange +sadd +srem +smembers +sismember +srandmember +sscan +scard +spop \
                      +publish +subscribe +wait";

/// The further rights that `check` needs.
const CHECK_RIGHTS: &str = "+scan +zscan +type +hget +zscore";

#[test]
fn the_documentation_lists_the_rights() {
    let page = include_str!("../../../docs/redis.md").replace("\\\n", "");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let rights = RIGHTS.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains(&rights) && page.contains(CHECK_RIGHTS), "{rights}");
}

/// A Redis with a user `sessions` that has only the rights that the service needs.
pub(super) fn start_with_user() -> Redis {
    let redis = Redis::running();
    let rights: Vec<_> = RIGHTS.split_whitespace().collect();
    let () = redis.ask(&format!("ACL SETUSER sessions on >opensesame {}", rights.join(" ")));
    redis
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_suffice() {
    let redis = start_with_user();
    let folder = tempfile::tempdir().expect("a temporary folder");
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
        assert_all_succeed(&process).await;
        // Several sessions, so that killall runs every command that it uses.
        let app = process.app();
        for n in 0..3 {
            app.create(&format!("user-{n}")).await;
        }
        // The near cache answers only if the user may subscribe.
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
async fn a_create_without_all_rights_leaves_no_keys() {
    let redis = start_with_user();
    let folder = tempfile::tempdir().expect("a temporary folder");
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
async fn a_check_fails_without_one_of_its_rights() {
    let redis = start_with_user();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = redis.url().replace("//", "//sessions:opensesame@");
    let process = Process::start(folder.path(), &["--redis-url", &url]);
    let app = process.app();
    let tokens = [app.create("ann").await, app.create("ben").await];
    process.stop();
    let all: Vec<_> = CHECK_RIGHTS.split(' ').collect();
    // Without one of the rights the check must fail. It must not report what it cannot read as missing.
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
        // Not every version names a command inside a script.
        let in_a_script = "NOPERM: no permission to run a command in a script";
        let reasons = [&format!("NOPERM: no permission to run {name}"), in_a_script];
        assert!(reasons.iter().any(|reason| line.ends_with(reason)), "{line}");
        let denied = format!("{:?}", redis.ask::<Value>("ACL LOG 1"));
        assert!(denied.contains(name), "{missing}: {denied}");
    }
    let () = redis.ask(&format!("ACL SETUSER sessions {CHECK_RIGHTS}"));
    let run_check = |args: &[&str]| check(folder.path(), &[&["--redis-url", &url], args].concat());
    finds(&run_check(&[]), 0, &[], false);
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
    finds(&run_check(&["--repair"]), 0, &lines, true);
}
