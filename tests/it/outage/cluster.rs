//! A cluster at work: slots move, and masters die.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    DEADLINE, MARGIN, all_unavailable, all_well,
    replicated::{Clients, not_replicated},
    stop,
};
use crate::{
    process::{Process, eventually},
    support::{
        Session, json,
        redis_cluster::{self, Cluster},
        redis_server::{self, Redis},
        side_by_side,
    },
};

/// The program on a cluster.
fn start(folder: &std::path::Path, urls: &str, args: &[&str]) -> Arc<Process> {
    let mut all = vec!["--redis-mode", "cluster", "--redis-url", urls];
    all.extend(args);
    Arc::new(Process::start(folder, &all))
}

/// Moves a slot with all that is in it.
fn move_slot(cluster: &Cluster, slot: u16, from: usize, to: usize) {
    cluster.open_slot(slot, from, to);
    while cluster.move_keys(slot, from, to) {}
    cluster.close_slot(slot, from, to);
}

/// What one client did, and has been told.
#[derive(Default)]
struct Done {
    /// Token, and how many sets were answered.
    alive: HashMap<String, u64>,
    killed: Vec<String>,
    requests: u64,
}

/// Creates, gets, sets, lists and kills sessions until it is told to end. Every answer has to be a success.
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
                .expect("it is there");
            assert_eq!(session.w, write + 2);
        }
        assert_eq!(app.get(&token).await.expect("it is there").id, *id);
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
async fn slots_that_move_cost_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(3, 0).expect("a cluster");
    let process = start(
        folder.path(),
        &cluster.nodes[0].url(),
        &["--shards", "8", "--timeout", "20"],
    );
    all_well(&process).await;
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
                cluster.agreed().expect("all nodes hear of it");
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
        let done = done.expect("every answer was a success");
        requests += done.requests;
        for (token, sets) in done.alive {
            let session = app.get(&token).await.expect("it is there");
            assert_eq!((session.w, session.r), (sets + 1, 2), "{}", session.id);
            assert_eq!(json(session.d()).as_object().expect("data").len() as u64, sets);
            sessions += 1;
        }
        for token in done.killed {
            assert!(app.get(&token).await.is_none(), "it was killed");
        }
    }
    assert!(
        requests > 200 && sessions > 20,
        "{requests} requests, {sessions} sessions"
    );
    assert_eq!(
        app.soapp(7200).await.len() - app.soid("somebody").await.len(),
        sessions,
        "lists are whole"
    );
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_costs_its_own_slots_until_it_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start(3, 1).expect("a cluster");
    let process = start(folder.path(), &cluster.urls(), &["--timeout", "0.3"]);
    let app = process.app();
    let mut tokens = Vec::new();
    for n in 0..60 {
        tokens.push(app.create(&format!("user-{n}")).await);
    }
    // What is acknowledged has to be at the replica, or it may be lost: that is Redis' own way.
    eventually("the replicas have it all", || {
        let replicated: u64 = cluster.nodes[..3]
            .iter()
            .map(|node| node.ask::<u64>("WAIT 1 100"))
            .sum();
        (replicated == 3).then_some(())
    });
    let dead = |token: &str| {
        let slot: u16 = cluster.nodes[1].ask(&format!("CLUSTER KEYSLOT {{rs:{}}}", &token[..2]));
        slot < 16384 / 3
    };
    let (lost, kept): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| dead(token));
    assert!(!lost.is_empty() && !kept.is_empty());
    cluster.nodes[0].kill();
    let start = Instant::now();
    let mut outages = 0;
    // Others go on as if nothing had happened; what is lost answers 503 until the replica has taken over.
    loop {
        for token in &kept {
            assert!(app.get(token).await.is_some(), "it is on another node");
        }
        let answer = process.ask("GET", &format!("/test-app/get/{}", lost[0]), "").await;
        if answer.status == 200 {
            assert_ne!(answer.body, "{}", "an outage is no missing session");
            break;
        }
        super::unavailable(&answer);
        outages += 1;
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "not replaced: {}",
            process.log()
        );
    }
    assert!(outages > 0, "the master was not dead");
    for token in &lost {
        assert!(app.get(token).await.is_some(), "the replica had it");
    }
    assert_eq!(process.ask("GET", "/readyz", "").await.status, 200);
    all_well(&process).await;
    drop(app);
    stop(process);
}

/// What was answered holds when the master that has done it leaves in the midst of answers, and its replica takes over.
async fn answered_changes_outlive_a_master(leaves: impl FnOnce(&mut Redis), comes_back: impl FnOnce(&Redis)) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start(3, 1).expect("a cluster");
    let process = start(folder.path(), &cluster.urls(), &["--redis-wait", "1"]);
    let clients = Clients::start(&process);
    clients.are_at_work().await;
    leaves(&mut cluster.nodes[0]);
    let told = clients.end().await;
    eventually("the replica takes over", || {
        let role: String = cluster.nodes[3].ask("INFO replication");
        role.contains("role:master").then_some(())
    });
    comes_back(&cluster.nodes[0]);
    told.holds(&process).await;
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_acknowledged_outlives_the_master() {
    answered_changes_outlive_a_master(Redis::kill, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_acknowledged_outlives_a_master_that_has_lost_it() {
    let lonely = |node: &mut Redis| {
        node.ask::<()>("ACL SETUSER default -psync -sync");
        assert_eq!(node.ask::<u64>("CLIENT KILL TYPE replica"), 1);
        // Time enough to answer what would be lost.
        std::thread::sleep(Duration::from_millis(300));
        node.kill();
    };
    answered_changes_outlive_a_master(lonely, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_acknowledged_outlives_a_master_that_comes_back() {
    answered_changes_outlive_a_master(|node| node.freeze(), Redis::thaw).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_no_replica_has_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start(3, 1).expect("a cluster");
    let process = start(folder.path(), &cluster.urls(), &["--redis-wait", "1", "--timeout", "3"]);
    let app = process.app();
    let mut tokens = Vec::new();
    for n in 0..12 {
        tokens.push(app.create(&format!("user-{n}")).await);
    }
    for replica in &mut cluster.nodes[3..] {
        replica.kill();
    }
    // At once, as each change takes its time to give up.
    let changes = tokens.iter().enumerate().map(|(n, token)| {
        let (process, app, token) = (process.clone(), app.clone(), token.clone());
        async move {
            let path = format!("/test-app/create/new-{n}?ip=::1");
            not_replicated(&process.ask("PUT", &path, "").await);
            not_replicated(&app.try_set(&token, r#"{"a":1}"#).await);
            // It was made, as the error says; and reads wait for nobody.
            assert_eq!(app.get(&token).await.expect("it is there").d(), r#"{"a":1}"#);
            not_replicated(&process.ask("DELETE", &format!("/test-app/kill/{token}"), "").await);
            assert!(app.get(&token).await.is_none());
        }
    });
    side_by_side(12, changes).await;
    assert_eq!(app.soapp(60).await.len(), 12, "those that were created");
    drop(app);
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_costs_only_its_own_slots() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(3, 0).expect("a cluster");
    let process = start(folder.path(), &cluster.urls(), &["--timeout", "0.5"]);
    let app = process.app();
    let mut tokens = Vec::new();
    for n in 0..30 {
        tokens.push(app.create(&format!("user-{n}")).await);
    }
    cluster.nodes[2].freeze();
    let (mut served, mut refused) = (0, 0);
    for token in &tokens {
        let asked = Instant::now();
        let answer = process.ask("GET", &format!("/test-app/get/{token}"), "").await;
        assert!(asked.elapsed() < DEADLINE + MARGIN);
        if answer.status == 200 {
            served += 1;
        } else {
            super::unavailable(&answer);
            refused += 1;
        }
    }
    assert!(served >= 10 && refused >= 5, "{served} served, {refused} refused");
    cluster.nodes[2].thaw();
    eventually("all is well again", || {
        cluster.nodes[0]
            .ask::<String>("CLUSTER INFO")
            .contains("cluster_state:ok")
            .then_some(())
    });
    for token in &tokens {
        assert!(app.get(token).await.is_some(), "nothing was lost");
    }
    drop(app);
    stop(process);
}

/// Whether a line of the log says this, after every request was refused in time.
async fn refused(args: &[&str], says: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Arc::new(Process::start(folder.path(), args));
    all_unavailable(&process, crate::support::NO_TOKEN).await;
    let log = stop(process);
    assert!(
        log.lines().any(|line| line.contains(" WARN ") && line.contains(says)),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_no_cluster_is_told() {
    let url = redis_server::url();
    refused(
        &["--redis-mode", "cluster", "--redis-url", &url],
        "not nodes of a cluster",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_taken_for_one_server_is_told() {
    let cluster = Cluster::start(2, 0).expect("a cluster");
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &["--redis-url", &cluster.nodes[0].url()]);
    // One of them is elsewhere.
    for n in 0..20 {
        process
            .ask("PUT", &format!("/test-app/create/user-{n}?ip=::1"), "")
            .await;
    }
    let log = process.stop();
    assert!(log.contains("--redis-mode"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_shards_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let urls = redis_cluster::urls();
    let namespace = redis_server::fresh_namespace();
    let with = |shards| start(folder.path(), &urls, &["--namespace", &namespace, "--shards", shards]);
    let process = with("16");
    all_well(&process).await;
    stop(process);
    let process = with("8");
    all_unavailable(&process, crate::support::NO_TOKEN).await;
    let log = stop(process);
    assert!(
        log.lines()
            .any(|line| line.contains("ERROR") && line.contains("16 shards")),
        "{log}"
    );
    let process = with("16");
    all_well(&process).await;
    stop(process);
}
