//! A Redis that writes all to disk before it answers: what was answered outlives it. And one that cannot, or not yet.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::{Redis, back_soon, start, stop, unavailable};
use crate::{
    process::{Process, eventually},
    support::json,
};

/// What one client was told before and after the crash.
#[derive(Default)]
struct Told {
    /// Token, and the number in its last answered set.
    alive: Vec<(String, Option<u64>)>,
    killed: Vec<String>,
}

/// Creates, sets and kills until it is told to end, and takes a 503 for what it is.
async fn client(process: Arc<Process>, number: usize, end: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    for round in 0.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let created = process
            .ask("PUT", &format!("/test-app/create/user-{number}?ip=::1"), "")
            .await;
        if created.status != 200 {
            unavailable(&created);
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
                told.killed.push(token);
            }
            continue;
        }
        told.alive.push((token, (set.status == 200).then_some(round)));
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
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
        back_soon(&process).await;
    }
    end.store(true, Ordering::Relaxed);
    let app = process.app();
    let (mut alive, mut killed) = (0, 0);
    while let Some(told) = clients.join_next().await {
        let told = told.expect("no panic");
        for (token, round) in told.alive {
            let session = app.get(&token).await.expect("its create was answered");
            if let Some(round) = round {
                assert_eq!(json(session.d())["round"], round, "its set was answered");
            }
            alive += 1;
        }
        for token in told.killed {
            assert!(app.get(&token).await.is_none(), "its kill was answered");
            killed += 1;
        }
    }
    assert!(alive > 20 && killed > 10, "{alive} alive, {killed} killed");
    drop(app);
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_loading_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let app = process.app();
    let token = app.create("somebody").await;
    for n in 0..300 {
        app.create(&format!("user-{n}")).await;
    }
    let () = redis.ask("SAVE");
    redis.kill();
    // Five milliseconds for each key, of which there are hundreds; it answers LOADING meanwhile.
    redis.start_slowly(5000);
    for _ in 0..5 {
        let answer = process.ask("GET", &format!("/test-app/get/{token}"), "").await;
        unavailable(&answer);
    }
    assert_eq!(process.ask("GET", "/readyz", "").await.status, 503);
    redis.loaded();
    back_soon(&process).await;
    assert!(app.get(&token).await.is_some());
    drop(app);
    let log = stop(process);
    assert!(log.contains("LOADING"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_cannot_save_refuses_changes_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::with(&["--save", "3600 1"]);
    let process = start(folder.path(), &redis, &["--touch", "0.05"]);
    let app = process.app();
    let token = app.create("somebody").await;
    // It saves into its folder, which is gone.
    let place = redis.folder().to_owned();
    fs::remove_dir_all(&place).expect("a folder");
    let _: Result<String, _> = redis.try_ask("BGSAVE");
    let create = "/test-app/create/other?ip=::1";
    eventually("it says so", || {
        redis
            .ask::<String>("INFO persistence")
            .contains("last_bgsave_status:err")
            .then_some(())
    });
    unavailable(&process.ask("PUT", create, "").await);
    unavailable(
        &process
            .ask("POST", &format!("/test-app/set/{token}"), r#"{"a":1}"#)
            .await,
    );
    unavailable(&process.ask("DELETE", &format!("/test-app/kill/{token}"), "").await);
    assert!(app.get(&token).await.is_some(), "reading needs no disk");
    fs::create_dir(&place).expect("a folder");
    let () = redis.ask("CONFIG SET stop-writes-on-bgsave-error no");
    assert_eq!(process.ask("PUT", create, "").await.status, 200);
    assert_eq!(app.kill(&token).await, 1);
    drop(app);
    let log = stop(process);
    assert!(log.contains("MISCONF"), "{log}");
}
