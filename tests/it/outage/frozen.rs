//! Redis takes everything and answers nothing.

use super::{DEADLINE, Redis, all_unavailable, all_well, back_soon, start, unavailable};
use crate::support::{json, side_by_side};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_costs_the_deadline_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("somebody").await;
    redis.freeze();
    // The second time, no connection can be made either.
    for _ in 0..2 {
        all_unavailable(&process, &token).await;
    }
    redis.thaw();
    back_soon(&process).await;
    for _ in 0..10 {
        all_well(&process).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_while_redis_is_frozen() {
    // Bytes of data in each create. What waits for Redis may keep its command, but no longer than the deadline.
    const DATA: usize = 32 * 1024;
    const CREATES: usize = 200;
    const ROUNDS: usize = 10;
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    all_well(&process).await;
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(DATA));
    let round = async || {
        let creates = (0..CREATES).map(|_| {
            let (process, body) = (process.clone(), body.clone());
            async move { unavailable(&process.ask("PUT", "/test-app/create/big?ip=10.0.0.1", &body).await) }
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
        "{first} KiB, later {last}, after {sent} were sent"
    );
    redis.thaw();
    back_soon(&process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_timed_out_is_not_sent_again() {
    const SETS: u64 = 20;
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("somebody").await;
    // The connections are there, and know the script.
    process.app().set(&token, r#"{"known":1}"#).await.expect("it is there");
    redis.freeze();
    let sets = (0..SETS).map(|n| {
        let (process, path) = (process.clone(), format!("/test-app/set/{token}"));
        async move { unavailable(&process.ask("POST", &path, &format!(r#"{{"n{n}":1}}"#)).await) }
    });
    side_by_side(100, sets).await;
    redis.thaw();
    back_soon(&process).await;
    // Whatever was still on its way has arrived when a later command on each connection has been answered, and when
    // nothing has changed for a while.
    let mut seen = String::new();
    loop {
        let now: String = redis.ask(&format!("HGET rs:test-app:{token} w"));
        if now == seen {
            break;
        }
        seen = now;
        tokio::time::sleep(DEADLINE / 4).await;
    }
    let session = process.app().get(&token).await.expect("it is there");
    let data = json(session.d());
    let applied = data.as_object().expect("an object").len() as u64 - 1;
    assert!(applied <= SETS);
    assert_eq!(session.w, 2 + applied, "each set that was applied counts once: {data}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_that_timed_out_leaves_one_session_at_most() {
    const CREATES: usize = 10;
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    all_well(&process).await;
    redis.freeze();
    let creates = (0..CREATES).map(|_| {
        let process = process.clone();
        async move { unavailable(&process.ask("PUT", "/test-app/create/once?ip=10.0.0.1", "").await) }
    });
    side_by_side(100, creates).await;
    redis.thaw();
    back_soon(&process).await;
    tokio::time::sleep(DEADLINE / 4).await;
    let sessions = process.app().soid("once").await.len();
    assert!(sessions <= CREATES, "{sessions}");
}
