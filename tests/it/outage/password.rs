//! Passwords: a wrong or missing one is logged as the reason, and no password ever appears in the log.

use super::{Redis, assert_all_succeed, assert_all_unavailable, start, stop};
use crate::{process::Process, support::NO_TOKEN};

const PASSWORD: &str = "open/sesame@7";
const CREDENTIALS: &str = ":open%2Fsesame%407@";

fn secrets(log: &str) -> Vec<&'static str> {
    let secrets = ["open/sesame", "open%2Fsesame", "wrongsesame", "sesame"];
    secrets.into_iter().filter(|secret| log.contains(secret)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_used_and_never_logged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::with_password(PASSWORD, CREDENTIALS);
    let process = start(folder.path(), &redis, &["--loglevel", "trace"]);
    assert_all_succeed(&process).await;
    let log = stop(process);
    assert_eq!(secrets(&log), Vec::<&str>::new(), "{log}");
}

async fn refused(credentials: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::with_password(PASSWORD, CREDENTIALS);
    let url = format!("redis://{credentials}127.0.0.1:{}", redis.port());
    let process = Process::start(folder.path(), &["--redis-url", &url, "--loglevel", "trace"]).into();
    assert_all_unavailable(&process, NO_TOKEN).await;
    let log = stop(process);
    let is_reason = |line: &str| (line.contains(" WARN ") || line.contains("ERROR")) && line.contains("Redis");
    let mut reasons = log.lines().filter(|line| is_reason(line));
    assert!(reasons.any(mentions_password), "no line mentions the password: {log}");
    assert_eq!(secrets(&log), Vec::<&str>::new(), "{log}");
}

/// Whether the line points an operator to the password.
fn mentions_password(line: &str) -> bool {
    let line = line.to_lowercase();
    ["password", "wrongpass", "noauth", "auth"]
        .iter()
        .any(|word| line.contains(word))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_logged_without_the_password() {
    refused(":wrongsesame@").await;
    refused("default:wrongsesame@").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_password_is_logged() {
    refused("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_may_contain_a_comma() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for credentials in [":ses,ame@", "default:ses%2Came@"] {
        let redis = Redis::with_password("ses,ame", credentials);
        let process = start(folder.path(), &redis, &[]);
        assert_all_succeed(&process).await;
        stop(process);
    }
}
