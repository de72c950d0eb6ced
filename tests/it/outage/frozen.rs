//! A frozen Redis: it accepts commands and answers none.

use super::{DEADLINE, Redis, assert_all_succeed, assert_all_unavailable, assert_unavailable, await_recovery, start};
use crate::support::{json, side_by_side};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_a_frozen_redis_end_at_the_deadline() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("ann").await;
    redis.freeze();
    // In the second round new connections fail, too.
    for _ in 0..2 {
        assert_all_unavailable(&process, &token).await;
    }
    redis.thaw();
    await_recovery(&process).await;
    for _ in 0..10 {
        assert_all_succeed(&process).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_while_redis_is_frozen() {
    // Bytes of data in each create. A request may hold its command in memory until its deadline, but no longer.
    const DATA: usize = 32 * 1024;
    const CREATES: usize = 200;
    const ROUNDS: usize = 10;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    assert_all_succeed(&process).await;
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(DATA));
    let round = async || {
        let creates = (0..CREATES).map(|_| {
            let (process, body) = (process.clone(), body.clone());
            async move { assert_unavailable(&process.ask("PUT", "/test-app/create/big?ip=10.0.0.1", &body).await) }
        });
        side_by_side(CREATES, creates).await;
    };
    redis.freeze();
    round().await;
    let first = process.memory();
    for _ in 0..ROUNDS {
        round().await;
    }
    let last = process.memory();
    let sent = (ROUNDS * CREATES * DATA / 1024) as u64;
    assert!(
        last < first + sent / 2,
        "{first} KiB at first, {last} KiB after {sent} KiB were sent"
    );
    redis.thaw();
    await_recovery(&process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timed_out_set_is_applied_at_most_once() {
    const SETS: u64 = 20;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("ann").await;
    // Connections are open and the script is loaded.
    process
        .app()
        .set(&token, r#"{"known":1}"#)
        .await
        .expect("an existing session");
    redis.freeze();
    let sets = (0..SETS).map(|n| {
        let (process, path) = (process.clone(), format!("/test-app/set/{token}"));
        async move { assert_unavailable(&process.ask("POST", &path, &format!(r#"{{"n{n}":1}}"#)).await) }
    });
    side_by_side(100, sets).await;
    redis.thaw();
    await_recovery(&process).await;
    // Commands in flight have arrived once later commands are answered and `w` has not changed for a while.
    let mut seen = String::new();
    loop {
        let now: String = redis.ask(&format!("HGET rs:test-app:{token} w"));
        if now == seen {
            break;
        }
        seen = now;
        tokio::time::sleep(DEADLINE / 4).await;
    }
    let session = process.app().get(&token).await.expect("an existing session");
    let data = json(session.d());
    let applied = data.as_object().expect("an object").len() as u64 - 1;
    assert!(applied <= SETS);
    assert_eq!(session.w, 2 + applied, "each set that was applied counts once: {data}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timed_out_create_leaves_at_most_one_session() {
    const CREATES: usize = 10;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    assert_all_succeed(&process).await;
    redis.freeze();
    let creates = (0..CREATES).map(|_| {
        let process = process.clone();
        async move { assert_unavailable(&process.ask("PUT", "/test-app/create/once?ip=10.0.0.1", "").await) }
    });
    side_by_side(100, creates).await;
    redis.thaw();
    await_recovery(&process).await;
    tokio::time::sleep(DEADLINE / 4).await;
    let sessions = process.app().soid("once").await.len();
    assert!(sessions <= CREATES, "{sessions}");
}
