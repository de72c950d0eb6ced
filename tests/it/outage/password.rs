//! A wrong password is told, and no password is.

use super::{Redis, all_unavailable, all_well, start, stop};
use crate::{process::Process, support::NO_TOKEN};

const PASSWORD: &str = "open/sesame@7";
const CREDENTIALS: &str = ":open%2Fsesame%407@";

fn secrets(log: &str) -> Vec<&'static str> {
    let secrets = ["open/sesame", "open%2Fsesame", "wrongsesame", "sesame"];
    secrets.into_iter().filter(|secret| log.contains(secret)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_password_is_used_and_not_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::with_password(PASSWORD, CREDENTIALS);
    let process = start(folder.path(), &redis, &["--loglevel", "trace"]);
    all_well(&process).await;
    let log = stop(process);
    assert_eq!(secrets(&log), Vec::<&str>::new(), "{log}");
}

async fn refused(credentials: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::with_password(PASSWORD, CREDENTIALS);
    let url = format!("redis://{credentials}127.0.0.1:{}", redis.port());
    let process = Process::start(folder.path(), &["--redis-url", &url, "--loglevel", "trace"]).into();
    all_unavailable(&process, NO_TOKEN).await;
    let log = stop(process);
    let why = |line: &str| (line.contains(" WARN ") || line.contains("ERROR")) && line.contains("Redis");
    let why: Vec<_> = log.lines().filter(|line| why(line)).collect();
    assert!(why.iter().any(|line| says_why(line)), "no line says why: {log}");
    assert_eq!(secrets(&log), Vec::<&str>::new(), "{log}");
}

/// Whether an operator who reads the line thinks of the password.
fn says_why(line: &str) -> bool {
    let line = line.to_lowercase();
    ["password", "wrongpass", "noauth", "auth"]
        .iter()
        .any(|word| line.contains(word))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_without_it() {
    refused(":wrongsesame@").await;
    refused("default:wrongsesame@").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_password_is_told() {
    refused("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comma_in_a_password_separates_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for credentials in [":ses,ame@", "default:ses%2Came@"] {
        let redis = Redis::with_password("ses,ame", credentials);
        let process = start(folder.path(), &redis, &[]);
        all_well(&process).await;
        stop(process);
    }
}
