//! Failing masters of a cluster: only their own slots are unavailable, and with `--redis-wait` no acknowledged change
//! is lost.

use std::time::{Duration, Instant};

use super::{
    DEADLINE, MARGIN, assert_all_succeed,
    cluster::start,
    replicated::{Clients, assert_not_replicated},
    stop,
};
use crate::{
    process::eventually,
    support::{redis_cluster::Cluster, redis_server::Redis, side_by_side},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_master_makes_only_its_slots_unavailable_until_failover() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cluster = Cluster::start(3, 1).expect("a cluster");
    let process = start(folder.path(), &cluster.urls(), &["--timeout", "0.3"]);
    let app = process.app();
    let mut tokens = Vec::new();
    for n in 0..60 {
        tokens.push(app.create(&format!("user-{n}")).await);
    }
    // Redis replicates asynchronously: sessions that have not reached the replica would be lost.
    eventually("the replicas are in sync", || {
        let replicated: u64 = cluster.nodes[..3]
            .iter()
            .map(|node| node.ask::<u64>("WAIT 1 100"))
            .sum();
        (replicated == 3).then_some(())
    });
    let on_first_master = |token: &str| {
        let slot: u16 = cluster.nodes[1].ask(&format!("CLUSTER KEYSLOT {{rs:{}}}", &token[..2]));
        slot < 16384 / 3
    };
    let (lost, kept): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| on_first_master(token));
    assert!(!lost.is_empty() && !kept.is_empty());
    cluster.nodes[0].kill();
    let start = Instant::now();
    let mut outages = 0;
    // Other shards keep serving. The lost shard answers 503 until the replica takes over.
    loop {
        for token in &kept {
            assert!(
                app.get(token).await.is_some(),
                "a session on another master is unavailable"
            );
        }
        let answer = process.ask("GET", &format!("/test-app/get/{}", lost[0]), "").await;
        if answer.status == 200 {
            assert_ne!(answer.body, "{}", "an outage was answered as a missing session");
            break;
        }
        super::assert_unavailable(&answer);
        outages += 1;
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "no failover: {}",
            process.log()
        );
    }
    assert!(outages > 0, "the master was not down");
    for token in &lost {
        assert!(app.get(token).await.is_some(), "the failover lost a session");
    }
    assert_eq!(process.ask("GET", "/readyz", "").await.status, 200);
    assert_all_succeed(&process).await;
    drop(app);
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_master_makes_only_its_slots_unavailable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
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
            super::assert_unavailable(&answer);
            refused += 1;
        }
    }
    assert!(served >= 10 && refused >= 5, "{served} served, {refused} refused");
    cluster.nodes[2].thaw();
    eventually("the cluster has recovered", || {
        cluster.nodes[0]
            .ask::<String>("CLUSTER INFO")
            .contains("cluster_state:ok")
            .then_some(())
    });
    for token in &tokens {
        assert!(app.get(token).await.is_some(), "a session was lost");
    }
    drop(app);
    stop(process);
}

/// Asserts that no acknowledged change is lost when a master fails under load and its replica takes over.
async fn assert_failover_keeps_acknowledged_changes(fail: impl FnOnce(&mut Redis), recover: impl FnOnce(&Redis)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cluster = Cluster::start(3, 1).expect("a cluster");
    let process = start(folder.path(), &cluster.urls(), &["--redis-wait", "1"]);
    let clients = Clients::start(&process);
    clients.await_load().await;
    fail(&mut cluster.nodes[0]);
    let acknowledged = clients.await_failures().await;
    eventually("the replica takes over", || {
        let role: String = cluster.nodes[3].ask("INFO replication");
        role.contains("role:master").then_some(())
    });
    recover(&cluster.nodes[0]);
    acknowledged.assert_kept(&process).await;
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_the_master() {
    assert_failover_keeps_acknowledged_changes(Redis::kill, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_an_isolated_master() {
    let isolate_and_kill = |node: &mut Redis| {
        node.ask::<()>("ACL SETUSER default -psync -sync");
        assert_eq!(node.ask::<u64>("CLIENT KILL TYPE replica"), 1);
        // Without the wait for a replica, changes made in this time would be acknowledged and then lost.
        std::thread::sleep(Duration::from_millis(300));
        node.kill();
    };
    assert_failover_keeps_acknowledged_changes(isolate_and_kill, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_a_master_that_returns() {
    assert_failover_keeps_acknowledged_changes(|node| node.freeze(), Redis::thaw).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreplicated_changes_are_answered_503() {
    let folder = tempfile::tempdir().expect("a temporary folder");
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
    // Concurrently, since each change waits for its deadline.
    let changes = tokens.iter().enumerate().map(|(n, token)| {
        let (process, app, token) = (process.clone(), app.clone(), token.clone());
        async move {
            let path = format!("/test-app/create/new-{n}?ip=::1");
            assert_not_replicated(&process.ask("PUT", &path, "").await);
            assert_not_replicated(&app.try_set(&token, r#"{"a":1}"#).await);
            // The change was made, as the error says. Reads do not wait for replicas.
            assert_eq!(app.get(&token).await.expect("an existing session").d(), r#"{"a":1}"#);
            assert_not_replicated(&process.ask("DELETE", &format!("/test-app/kill/{token}"), "").await);
            assert!(app.get(&token).await.is_none());
        }
    });
    side_by_side(12, changes).await;
    assert_eq!(app.soapp(60).await.len(), 12, "the sessions created during the outage");
    drop(app);
    stop(process);
}
