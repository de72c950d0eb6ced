//! Redis is down, at the start of the service or later.

use super::{Redis, assert_all_succeed, assert_all_unavailable, assert_unavailable, await_recovery, start, stop};
use crate::support::NO_TOKEN;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_starts_without_redis() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut redis = Redis::stopped();
    let process = start(folder.path(), &redis, &[]);
    assert_unavailable(&process.ask("GET", "/readyz", "").await);
    assert_all_unavailable(&process, NO_TOKEN).await;
    redis.start();
    await_recovery(&process).await;
    assert_all_succeed(&process).await;
    let log = stop(process);
    let line_of = |text: &str| {
        log.lines()
            .position(|line| line.contains(text))
            .unwrap_or_else(|| panic!("no {text}: {log}"))
    };
    assert!(line_of(" WARN ") < line_of("Redis is reachable again"), "{log}");
    assert!(
        line_of("cannot reach the store") < line_of("Redis is reachable again"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_recovers_when_a_killed_redis_restarts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    for _ in 0..2 {
        assert_all_succeed(&process).await;
        let token = process.app().create("ann").await;
        redis.kill();
        for _ in 0..3 {
            assert_all_unavailable(&process, &token).await;
        }
        redis.start();
        await_recovery(&process).await;
        // Redis restarted without its data, which is not an error.
        assert!(process.app().get(&token).await.is_none());
    }
    assert_all_succeed(&process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_logged_at_its_start_and_end_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    assert_all_succeed(&process).await;
    redis.kill();
    for _ in 0..20 {
        assert_all_unavailable(&process, NO_TOKEN).await;
    }
    redis.start();
    await_recovery(&process).await;
    let log = stop(process);
    assert_eq!(log.matches("Redis is unreachable").count(), 1, "{log}");
    assert_eq!(log.matches("Redis is reachable again").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_replica_is_logged_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    assert_all_succeed(&process).await;
    // A replica of a master that does not exist.
    let () = redis.ask("REPLICAOF 127.0.0.1 1");
    for _ in 0..20 {
        assert_unavailable(&process.ask("PUT", "/test-app/create/ann?ip=10.0.0.1", "").await);
        assert!(process.app().get(NO_TOKEN).await.is_none());
    }
    let () = redis.ask("REPLICAOF NO ONE");
    await_recovery(&process).await;
    let log = stop(process);
    assert_eq!(log.matches("READONLY").count(), 1, "{log}");
    assert_eq!(log.matches("Redis is").count(), 0, "{log}");
}
