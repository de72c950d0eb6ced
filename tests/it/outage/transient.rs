//! Transient faults of a running Redis: lost connections, lost scripts, a change of role, memory exhaustion.

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

use super::{MARGIN, Redis, assert_all_succeed, assert_unavailable, start, stop};
use crate::{process::Process, support::side_by_side};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_lost_between_requests_fail_no_request() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &["--redis-connections", "4"]);
    for round in 0..10 {
        assert_all_succeed(&process).await;
        let killed: u64 = redis.ask("CLIENT KILL TYPE normal");
        assert!(killed > 0, "nothing was connected in round {round}");
        // Let the service notice the closed connections.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_all_succeed(&process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_list_ends_with_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let app = process.app();
    // More than the socket buffers hold.
    let d = format!(r#"{{"x":"{}"}}"#, "x".repeat(55_000));
    for n in 0..600 {
        app.create_with(&format!("user-{n}"), "", &d).await;
    }
    let request = app.request(reqwest::Method::GET, "/soapp?dt=600");
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.chunk().await.expect("a chunk").expect("not the end yet");
    redis.kill();
    let end = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "the truncated list looks complete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_lost_between_requests_fail_no_request() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("ann").await;
    for n in 1..=5 {
        for (method, path, body) in super::requests(&token) {
            if path.contains("/kill/") {
                continue;
            }
            let () = redis.ask("SCRIPT FLUSH");
            let answer = process.ask(method, &path, body).await;
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        }
        let session = process.app().get(&token).await.expect("an existing session");
        assert_eq!((session.w, session.r), (1 + n, 2 * n), "each set and get counts once");
    }
    let () = redis.ask("SCRIPT FLUSH");
    assert_eq!(process.app().kill(&token).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_lost_under_load_fail_no_request() {
    static DONE: AtomicBool = AtomicBool::new(false);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("ann").await;
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
        async move {
            app.set(&token, format!(r#"{{"n":{n}}}"#))
                .await
                .expect("an existing session")
        }
    });
    side_by_side(8, sets).await;
    DONE.store(true, Ordering::Relaxed);
    let (_redis, count) = flusher.join().expect("no panic");
    assert!(count > 5, "scripts were flushed only {count} times");
    assert_eq!(process.app().get(&token).await.map(|session| session.w), Some(301));
}

/// A proxy whose new connections lead to the port in `target`, like a DNS name that moves to a new master. Existing
/// connections stay.
async fn moving_address(target: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let port = target.load(Ordering::Relaxed);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    format!("redis://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_master_is_replaced_by_the_new_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (old, new) = (Redis::running(), Redis::running());
    let target = Arc::new(AtomicU16::new(old.port()));
    let url = moving_address(target.clone()).await;
    let process = Process::start(folder.path(), &["--redis-url", &url]);
    assert_all_succeed(&process).await;

    target.store(new.port(), Ordering::Relaxed);
    let () = old.ask(&format!("REPLICAOF 127.0.0.1 {}", new.port()));
    // Each connection fails at most one request before it is replaced.
    let create = async || process.ask("PUT", "/test-app/create/ann?ip=10.0.0.1", "").await;
    assert_unavailable(&create().await);
    let start = Instant::now();
    while create().await.status != 200 {
        assert!(
            start.elapsed() < Duration::from_secs(1) + MARGIN,
            "still connected to the replica: {}",
            process.log()
        );
    }
    assert_all_succeed(&process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_out_of_memory_is_unavailable_until_memory_is_free() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let process = start(folder.path(), &redis, &[]);
    let token = process.app().create("ann").await;
    let () = redis.ask("CONFIG SET maxmemory 1");
    for _ in 0..3 {
        assert_unavailable(&process.ask("PUT", "/test-app/create/ann?ip=10.0.0.1", "").await);
        assert_unavailable(
            &process
                .ask("POST", &format!("/test-app/set/{token}"), r#"{"a":1}"#)
                .await,
        );
    }
    let () = redis.ask("CONFIG SET maxmemory 0");
    assert_eq!(process.app().get(&token).await.map(|session| session.w), Some(1));
    assert_all_succeed(&process).await;
    let log = stop(process);
    assert!(log.contains("OOM") && !log.contains(&token), "{log}");
}
