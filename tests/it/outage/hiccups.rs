//! What happens to a Redis that is kept: lost connections, lost scripts, a change of roles, no memory left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use super::{MARGIN, Redis, all_well, start, stop, unavailable};
use crate::{process::Process, support::side_by_side};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_lost_between_requests_cost_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &["--redis-connections", "4"]);
    for round in 0..10 {
        all_well(&process).await;
        let killed: u64 = redis.ask("CLIENT KILL TYPE normal");
        assert!(killed > 0, "nothing was connected in round {round}");
        // The news of it has to arrive.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    all_well(&process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_breaks_off_is_not_taken_for_the_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let app = process.app();
    // More than what the sockets between us hold.
    let d = format!(r#"{{"x":"{}"}}"#, "x".repeat(55_000));
    for n in 0..600 {
        app.create_with(&format!("user-{n}"), "", &d).await;
    }
    let request = app.request(reqwest::Method::GET, "/soapp?dt=600");
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.chunk().await.expect("a piece").expect("no end yet");
    redis.kill();
    let end = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "it looks whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_lost_between_requests_cost_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("somebody").await;
    for n in 1..=5 {
        for (method, path, body) in super::requests(&token) {
            if path.contains("/kill/") {
                continue;
            }
            let () = redis.ask("SCRIPT FLUSH");
            let answer = process.ask(method, &path, body).await;
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        }
        let session = process.app().get(&token).await.expect("it is there");
        assert_eq!((session.w, session.r), (1 + n, 2 * n), "each set and get happened once");
    }
    let () = redis.ask("SCRIPT FLUSH");
    assert_eq!(process.app().kill(&token).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_lost_under_load_cost_nothing() {
    static DONE: AtomicBool = AtomicBool::new(false);
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("somebody").await;
    let flusher = std::thread::spawn(move || {
        let mut count = 0;
        while !DONE.load(Ordering::Relaxed) {
            let () = redis.ask("SCRIPT FLUSH");
            count += 1;
        }
        (redis, count)
    });
    let sets = (0..300).map(|n| {
        let (app, token) = (process.app(), token.clone());
        async move { app.set(&token, format!(r#"{{"n":{n}}}"#)).await.expect("it is there") }
    });
    side_by_side(8, sets).await;
    DONE.store(true, Ordering::Relaxed);
    let (_redis, count) = flusher.join().expect("no panic");
    assert!(count > 5, "hardly any script was lost: {count}");
    assert_eq!(process.app().get(&token).await.map(|session| session.w), Some(301));
}

/// An address that leads new connections to `target`, as a name does that moves to a new master. Those that are there stay.
async fn moving_address(target: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let port = target.load(Ordering::Relaxed);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", port)).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    format!("redis://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_becomes_a_replica_is_left_for_the_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Redis::running(), Redis::running());
    let target = Arc::new(AtomicU16::new(old.port()));
    let url = moving_address(target.clone()).await;
    let process = Process::start(folder.path(), &["--redis-url", &url]);
    all_well(&process).await;

    target.store(new.port(), Ordering::Relaxed);
    let () = old.ask(&format!("REPLICAOF 127.0.0.1 {}", new.port()));
    // Whoever finds out is told; a connection for each of them at most.
    let create = async || process.ask("PUT", "/test-app/create/somebody?ip=10.0.0.1", "").await;
    unavailable(&create().await);
    let start = Instant::now();
    while create().await.status != 200 {
        assert!(
            start.elapsed() < Duration::from_secs(1) + MARGIN,
            "it stays with the replica: {}",
            process.log()
        );
    }
    all_well(&process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_memory_is_unavailable_until_it_has_some() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("somebody").await;
    let () = redis.ask("CONFIG SET maxmemory 1");
    for _ in 0..3 {
        unavailable(&process.ask("PUT", "/test-app/create/somebody?ip=10.0.0.1", "").await);
        unavailable(
            &process
                .ask("POST", &format!("/test-app/set/{token}"), r#"{"a":1}"#)
                .await,
        );
    }
    let () = redis.ask("CONFIG SET maxmemory 0");
    assert_eq!(process.app().get(&token).await.map(|session| session.w), Some(1));
    all_well(&process).await;
    let log = stop(process);
    assert!(log.contains("OOM") && !log.contains(&token), "{log}");
}
