//! Redis is not there: at the start, or at once.

use super::{Redis, all_unavailable, all_well, back_soon, start, stop, unavailable};
use crate::support::NO_TOKEN;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_redis_is_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::away();
    let process = start(folder.path(), &redis, &[]);
    unavailable(&process.ask("GET", "/readyz", "").await);
    all_unavailable(&process, NO_TOKEN).await;
    redis.start();
    back_soon(&process).await;
    all_well(&process).await;
    let log = stop(process);
    let said = |what: &str| {
        log.lines()
            .position(|line| line.contains(what))
            .unwrap_or_else(|| panic!("no {what}: {log}"))
    };
    assert!(said(" WARN ") < said("Redis is reachable again"), "{log}");
    assert!(
        said("cannot reach the store") < said("Redis is reachable again"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_is_told_and_its_return_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    for _ in 0..2 {
        all_well(&process).await;
        let token = process.app().create("somebody").await;
        redis.kill();
        for _ in 0..3 {
            all_unavailable(&process, &token).await;
        }
        redis.start();
        back_soon(&process).await;
        // It came back empty, which is no error.
        assert!(process.app().get(&token).await.is_none());
    }
    all_well(&process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_logged_by_its_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    all_well(&process).await;
    redis.kill();
    for _ in 0..20 {
        all_unavailable(&process, NO_TOKEN).await;
    }
    redis.start();
    back_soon(&process).await;
    let log = stop(process);
    assert_eq!(log.matches("Redis is unreachable").count(), 1, "{log}");
    assert_eq!(log.matches("Redis is reachable again").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_answers_reads_is_logged_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    all_well(&process).await;
    // Of a master that does not exist.
    let () = redis.ask("REPLICAOF 127.0.0.1 1");
    for _ in 0..20 {
        unavailable(&process.ask("PUT", "/test-app/create/somebody?ip=10.0.0.1", "").await);
        assert!(process.app().get(NO_TOKEN).await.is_none());
    }
    let () = redis.ask("REPLICAOF NO ONE");
    back_soon(&process).await;
    let log = stop(process);
    assert_eq!(log.matches("READONLY").count(), 1, "{log}");
    assert_eq!(log.matches("Redis is").count(), 0, "{log}");
}
