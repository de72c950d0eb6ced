//! A cluster in operation: migrating slots, wrong modes, a changed number of shards.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::JoinSet;

use super::{assert_all_succeed, assert_all_unavailable, stop};
use crate::{
    process::Process,
    support::{
        Session, json,
        redis_cluster::{self, Cluster},
        redis_server,
    },
};

/// Starts the service on a cluster.
pub(super) fn start(folder: &std::path::Path, urls: &str, args: &[&str]) -> Arc<Process> {
    let mut all = vec!["--redis-mode", "cluster", "--redis-url", urls];
    all.extend(args);
    Arc::new(Process::start(folder, &all))
}

/// Moves a slot with all its keys.
fn move_slot(cluster: &Cluster, slot: u16, from: usize, to: usize) {
    cluster.open_slot(slot, from, to);
    while cluster.move_keys(slot, from, to) {}
    cluster.close_slot(slot, from, to);
}

/// The sessions of one client.
#[derive(Default)]
struct Done {
    /// Token, and the number of successful sets.
    alive: HashMap<String, u64>,
    killed: Vec<String>,
    requests: u64,
}

/// Creates, gets, sets, lists and kills sessions until `end` is set. Every request must succeed.
async fn client(process: Arc<Process>, number: usize, end: Arc<AtomicBool>) -> Done {
    let app = process.app();
    let mut done = Done::default();
    let mut round = 0;
    while !end.load(Ordering::Relaxed) {
        let id = &format!("user-{number}-{}", round % 7);
        let token = app.create(id).await;
        for write in 0..3 {
            let session = app
                .set(&token, format!(r#"{{"n{write}":{round}}}"#))
                .await
                .expect("an existing session");
            assert_eq!(session.w, write + 2);
        }
        assert_eq!(app.get(&token).await.expect("an existing session").id, *id);
        assert!(app.soid(id).await.iter().any(|session: &Session| session.w == 4));
        if round % 3 == 0 {
            assert_eq!(app.kill(&token).await, 1);
            done.killed.push(token);
        } else {
            done.alive.insert(token, 3);
        }
        if round % 20 == 19 {
            let other = &format!("gone-{number}");
            let tokens = [app.create(other).await, app.create(other).await];
            assert_eq!(app.killsoid(other).await, 2);
            done.killed.extend(tokens);
        }
        round += 1;
        done.requests += 7;
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrating_slots_fail_no_request() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cluster = Cluster::start(3, 0).expect("a cluster");
    let process = start(
        folder.path(),
        &cluster.nodes[0].url(),
        &["--shards", "8", "--timeout", "20"],
    );
    assert_all_succeed(&process).await;
    let end = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..6 {
        clients.spawn(client(process.clone(), number, end.clone()));
    }
    let moved = tokio::task::spawn_blocking(move || {
        let mut moved = 0;
        for round in 0..3 {
            for shard in 0..8 {
                let slot: u16 = cluster.nodes[0].ask(&format!("CLUSTER KEYSLOT {{rs:{shard:02x}}}"));
                let owner = usize::from(slot) * 3 / 16384;
                let (from, to) = ((owner + round) % 3, (owner + round + 1) % 3);
                let keys: usize = cluster.nodes[from].ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}"));
                move_slot(&cluster, slot, from, to);
                cluster.agreed().expect("all nodes agree");
                moved += keys;
            }
        }
        (cluster, moved)
    });
    let (_cluster, moved) = moved.await.expect("no panic");
    end.store(true, Ordering::Relaxed);
    assert!(moved > 100, "only {moved} keys were moved");
    let app = process.app();
    let (mut requests, mut sessions) = (0, 0);
    while let Some(done) = clients.join_next().await {
        let done = done.expect("every request succeeded");
        requests += done.requests;
        for (token, sets) in done.alive {
            let session = app.get(&token).await.expect("an existing session");
            assert_eq!((session.w, session.r), (sets + 1, 2), "{}", session.id);
            assert_eq!(json(session.d()).as_object().expect("data").len() as u64, sets);
            sessions += 1;
        }
        for token in done.killed {
            assert!(app.get(&token).await.is_none(), "a killed session came back");
        }
    }
    assert!(
        requests > 200 && sessions > 20,
        "{requests} requests, {sessions} sessions"
    );
    assert_eq!(
        app.soapp(7200).await.len() - app.soid("ann").await.len(),
        sessions,
        "the list is complete"
    );
    stop(process);
}

/// Asserts that the store is unavailable and that a warning contains `reason`.
async fn assert_refused(args: &[&str], reason: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Arc::new(Process::start(folder.path(), args));
    assert_all_unavailable(&process, crate::support::NO_TOKEN).await;
    let log = stop(process);
    assert!(
        log.lines().any(|line| line.contains(" WARN ") && line.contains(reason)),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_server_in_cluster_mode_is_logged() {
    let url = redis_server::url();
    assert_refused(
        &["--redis-mode", "cluster", "--redis-url", &url],
        "not nodes of a cluster",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_in_single_mode_is_logged() {
    let cluster = Cluster::start(2, 0).expect("a cluster");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &["--redis-url", &cluster.nodes[0].url()]);
    // Some of these keys belong to the other node.
    for n in 0..20 {
        process
            .ask("PUT", &format!("/test-app/create/user-{n}?ip=::1"), "")
            .await;
    }
    let log = process.stop();
    assert!(log.contains("--redis-mode"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_number_of_shards_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let urls = redis_cluster::urls();
    let namespace = redis_server::fresh_namespace();
    let with = |shards| start(folder.path(), &urls, &["--namespace", &namespace, "--shards", shards]);
    let process = with("16");
    assert_all_succeed(&process).await;
    stop(process);
    let process = with("8");
    assert_all_unavailable(&process, crate::support::NO_TOKEN).await;
    let log = stop(process);
    assert!(
        log.lines()
            .any(|line| line.contains("ERROR") && line.contains("16 shards")),
        "{log}"
    );
    let process = with("16");
    assert_all_succeed(&process).await;
    stop(process);
}
