//! Failover by sentinels: the service follows the new master and writes nothing to the old one.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    MARGIN, assert_all_succeed,
    replicated::{Clients, assert_not_replicated},
    sentinel_nodes::{PASSWORD, SENTINEL_PASSWORD, Watched},
    stop,
};
use crate::{
    check::{check, finds},
    process::{Process, eventually, free_port},
    support,
};

/// A client that sends sets until it is stopped, and counts the successful ones.
struct Load {
    stopped: Arc<AtomicBool>,
    succeeded: Arc<AtomicU64>,
    running: tokio::task::JoinHandle<()>,
    token: String,
}

impl Load {
    async fn start(process: &Arc<Process>) -> Self {
        let token = process.app().create("busy").await;
        let (stopped, succeeded) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let running = tokio::spawn({
            let (process, stopped, succeeded, path) = (
                process.clone(),
                stopped.clone(),
                succeeded.clone(),
                format!("/test-app/set/{token}"),
            );
            async move {
                while !stopped.load(Ordering::Relaxed) {
                    let answer = process.ask("POST", &path, r#"{"a":1}"#).await;
                    if answer.status == 200 {
                        assert_ne!(answer.body, "{}", "the session exists");
                        succeeded.fetch_add(1, Ordering::Relaxed);
                    } else {
                        super::assert_unavailable(&answer);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        Self {
            stopped,
            succeeded,
            running,
            token,
        }
    }

    /// Waits for the next successful set.
    async fn await_success(&self, patience: Duration) {
        let (start, before) = (Instant::now(), self.succeeded.load(Ordering::Relaxed));
        while self.succeeded.load(Ordering::Relaxed) == before {
            assert!(start.elapsed() < patience, "no set succeeded within {patience:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops the client; returns its token and the number of successful sets.
    async fn stop(self) -> (String, u64) {
        self.stopped.store(true, Ordering::Relaxed);
        self.running.await.expect("no panic");
        (self.token, self.succeeded.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_follows_a_failover() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut watched = Watched::start();
    let process = watched.serve(folder.path());
    assert_all_succeed(&process).await;
    let load = Load::start(&process).await;
    load.await_success(MARGIN).await;
    watched.servers[0].kill();
    let start = Instant::now();
    while watched.master() != Some(watched.servers[1].port) {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the sentinels do not promote the replica"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    load.await_success(Duration::from_secs(1) + MARGIN).await;
    // The old master comes back, at first as a master. It must receive no writes.
    watched.servers[0].start_again();
    let keys = || watched.servers[0].ask::<u64>(PASSWORD, "DBSIZE").ok();
    eventually("the old master is up", keys);
    for _ in 0..20 {
        load.await_success(MARGIN).await;
        assert_eq!(keys(), Some(0), "the old master received a write");
    }
    let (token, _) = load.stop().await;
    assert!(process.app().get(&token).await.is_some());
    let log = stop(process);
    assert!(!log.contains(PASSWORD) && !log.contains(SENTINEL_PASSWORD), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_master_receives_no_writes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let watched = Watched::start();
    let process = watched.serve(folder.path());
    let load = Load::start(&process).await;
    load.await_success(MARGIN).await;
    // Both servers run on. The old one stays a master for some seconds, and writes to it would be lost.
    let () = watched.sentinels[0]
        .ask(SENTINEL_PASSWORD, "SENTINEL FAILOVER sessions")
        .expect("SENTINEL FAILOVER succeeds");
    eventually("the replica is promoted", || {
        (watched.master() == Some(watched.servers[1].port)).then_some(())
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let written = || -> String {
        let writes = watched.servers[0].ask(PASSWORD, &format!("HGET rs:test-app:{} w", load.token));
        writes.expect("a reply")
    };
    let then = written();
    for _ in 0..50 {
        load.await_success(MARGIN).await;
    }
    assert_eq!(written(), then, "the old master received a write");
    let (token, _) = load.stop().await;
    assert!(process.app().get(&token).await.is_some());
    stop(process);
}

/// Reads the session until the near cache answers.
async fn warm(process: &Process, token: &str) {
    let hits = async || {
        let metrics = process.ask("GET", "/metrics", "").await.body;
        let hits = metrics.lines().find_map(|line| {
            line.strip_prefix(r#"rest_sessions_near_cache_total{result="hit"} "#)?
                .parse::<u64>()
                .ok()
        });
        hits.expect("a number")
    };
    support::eventually("the near cache answers", async || {
        let before = hits().await;
        let answer = process.ask("GET", &format!("/test-app/get/{token}"), "").await;
        assert_ne!(answer.body, "{}", "the session exists");
        hits().await > before
    })
    .await;
}

/// The old master runs on and publishes no invalidations for changes at the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_near_cache_subscribes_to_the_new_master() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let watched = Watched::start();
    let process = watched.serve_with(folder.path(), &["--cachetime", "3600", "--redis-wait", "1"]);
    let other = watched.serve(folder.path());
    let tokens = [other.app().create("ann").await, process.app().create("bob").await];
    for token in &tokens {
        warm(&process, token).await;
    }
    let () = watched.sentinels[0]
        .ask(SENTINEL_PASSWORD, "SENTINEL FAILOVER sessions")
        .expect("SENTINEL FAILOVER succeeds");
    eventually("the replica is promoted", || {
        (watched.master() == Some(watched.servers[1].port)).then_some(())
    });
    for token in &tokens {
        let kill = format!("/test-app/kill/{token}");
        support::eventually("the new master serves", async || {
            other.ask("GET", "/readyz", "").await.status == 200
        })
        .await;
        warm(&process, token).await;
        support::eventually("the kill is acknowledged", async || {
            other.ask("DELETE", &kill, "").await.status == 200
        })
        .await;
        support::eventually("the session is gone", async || process.app().get(token).await.is_none()).await;
        for _ in 0..50 {
            assert!(process.app().get(token).await.is_none(), "the session came back");
        }
    }
    stop(process);
    stop(other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_the_master() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut watched = Watched::start();
    let process = watched.serve_with(folder.path(), &["--redis-wait", "1"]);
    let clients = Clients::start(&process);
    clients.await_load().await;
    // The master dies under load. Acknowledged changes are already at the replica.
    watched.servers[0].kill();
    let acknowledged = clients.await_failures().await;
    let start = Instant::now();
    while watched.master() != Some(watched.servers[1].port) {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the sentinels do not promote the replica"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    super::await_recovery(&process).await;
    acknowledged.assert_kept(&process).await;
    // The only replica is now the master, so no replica is left to acknowledge a change.
    let answer = process.ask("PUT", "/test-app/create/lonely?ip=::1", "").await;
    assert_not_replicated(&answer);
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_the_master_through_sentinels() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let watched = Watched::start();
    let process = watched.serve(folder.path());
    process.app().create("ann").await;
    let lost: u64 = watched.servers[0]
        .ask(PASSWORD, "DEL rs:test-app:_users")
        .expect("a reply");
    assert_eq!(lost, 1);
    let run_check = |more: &[&str]| watched.with_options(folder.path(), more, |args| check(folder.path(), args));
    let lines = [r#"session missing from _users: app test-app, id "ann", session "#];
    finds(&run_check(&[]), 1, &lines, false);
    finds(&run_check(&["--repair"]), 0, &lines, true);
    finds(&run_check(&[]), 0, &[], false);
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_sentinel_options_are_logged_with_their_reason() {
    let watched = Watched::start();
    let urls = watched.urls();
    let closed_port = format!("redis://127.0.0.1:{}", free_port());
    for (args, reason) in [
        (
            ["--redis-url", &urls, "--redis-master", "unknown"],
            "no master of that name",
        ),
        (["--redis-url", &closed_port, "--redis-master", "sessions"], "refused"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("sentinel-password"), SENTINEL_PASSWORD).expect("a file");
        let mut all = args.to_vec();
        all.extend([
            "--redis-mode",
            "sentinel",
            "--redis-sentinel-password-file",
            "sentinel-password",
            "--timeout",
            "1",
        ]);
        let process = Process::start(folder.path(), &all);
        assert_eq!(process.ask("GET", "/readyz", "").await.status, 503);
        let log = process.stop();
        assert!(
            log.lines()
                .any(|line| line.contains("Redis is unreachable") && line.contains(reason)),
            "{reason}: {log}"
        );
    }
}
