//! Redis persistence: acknowledged changes survive a crash of a Redis that syncs every write; a Redis that is loading
//! or cannot save.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::{Redis, assert_unavailable, await_recovery, start, stop};
use crate::{
    process::{Process, eventually},
    support::json,
};

/// The changes that one client got acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Token, and the number in its last acknowledged set.
    alive: Vec<(String, Option<u64>)>,
    killed: Vec<String>,
}

/// Creates, sets and kills sessions until `end` is set. A 503 acknowledges nothing.
async fn client(process: Arc<Process>, number: usize, end: Arc<AtomicBool>) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for round in 0.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let created = process
            .ask("PUT", &format!("/test-app/create/user-{number}?ip=::1"), "")
            .await;
        if created.status != 200 {
            assert_unavailable(&created);
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        let token = json(&created.body)["token"].as_str().expect("a token").to_owned();
        let set = process
            .ask(
                "POST",
                &format!("/test-app/set/{token}"),
                &format!(r#"{{"round":{round}}}"#),
            )
            .await;
        if round % 3 == 0 {
            let kill = process.ask("DELETE", &format!("/test-app/kill/{token}"), "").await;
            if kill.status == 200 {
                acknowledged.killed.push(token);
            }
            continue;
        }
        acknowledged.alive.push((token, (set.status == 200).then_some(round)));
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_a_crash_of_redis() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut redis = Redis::durable();
    let process = start(folder.path(), &redis, &[]);
    let end = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..8 {
        clients.spawn(client(process.clone(), number, end.clone()));
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        redis.kill();
        tokio::time::sleep(Duration::from_millis(50)).await;
        redis.start();
        await_recovery(&process).await;
    }
    end.store(true, Ordering::Relaxed);
    let app = process.app();
    let (mut alive, mut killed) = (0, 0);
    while let Some(acknowledged) = clients.join_next().await {
        let acknowledged = acknowledged.expect("no panic");
        for (token, round) in acknowledged.alive {
            let session = app.get(&token).await.expect("its create was acknowledged");
            if let Some(round) = round {
                assert_eq!(json(session.d())["round"], round, "its set was acknowledged");
            }
            alive += 1;
        }
        for token in acknowledged.killed {
            assert!(app.get(&token).await.is_none(), "its kill was acknowledged");
            killed += 1;
        }
    }
    assert!(alive > 20 && killed > 10, "{alive} alive, {killed} killed");
    drop(app);
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_recovers_when_redis_has_loaded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let app = process.app();
    let token = app.create("ann").await;
    for n in 0..300 {
        app.create(&format!("user-{n}")).await;
    }
    let () = redis.ask("SAVE");
    redis.kill();
    // 5 ms for each of several hundred keys; meanwhile Redis answers LOADING.
    redis.start_slowly(5000);
    for _ in 0..5 {
        let answer = process.ask("GET", &format!("/test-app/get/{token}"), "").await;
        assert_unavailable(&answer);
    }
    assert_eq!(process.ask("GET", "/readyz", "").await.status, 503);
    redis.await_loaded();
    await_recovery(&process).await;
    assert!(app.get(&token).await.is_some());
    drop(app);
    let log = stop(process);
    assert!(log.contains("LOADING"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_cannot_save_still_serves_reads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::with(&["--save", "3600 1"]);
    let process = start(folder.path(), &redis, &["--touch", "0.05"]);
    let app = process.app();
    let token = app.create("ann").await;
    // Without its folder Redis cannot save.
    let folder = redis.folder().to_owned();
    fs::remove_dir_all(&folder).expect("the folder is removed");
    let _: Result<String, _> = redis.try_ask("BGSAVE");
    let create = "/test-app/create/other?ip=::1";
    eventually("Redis reports the failed save", || {
        redis
            .ask::<String>("INFO persistence")
            .contains("last_bgsave_status:err")
            .then_some(())
    });
    assert_unavailable(&process.ask("PUT", create, "").await);
    assert_unavailable(
        &process
            .ask("POST", &format!("/test-app/set/{token}"), r#"{"a":1}"#)
            .await,
    );
    assert_unavailable(&process.ask("DELETE", &format!("/test-app/kill/{token}"), "").await);
    assert!(app.get(&token).await.is_some(), "reads need no disk");
    fs::create_dir(&folder).expect("a folder");
    let () = redis.ask("CONFIG SET stop-writes-on-bgsave-error no");
    assert_eq!(process.ask("PUT", create, "").await.status, 200);
    assert_eq!(app.kill(&token).await, 1);
    drop(app);
    let log = stop(process);
    assert!(log.contains("MISCONF"), "{log}");
}
