//! Tests of `check` on a cluster: sessions in a wrong shard, and clusters that it has to refuse.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    time::Duration,
};

use super::{busy_namespace::BusyNamespace, check, finds};
use crate::{
    process::{Finished, Process},
    support::{START, Store, redis_cluster::Cluster, redis_server},
};

/// Writes a session with all its index entries into the shard of `place`, which is a token of that shard.
fn write(busy: &BusyNamespace, place: &str, token: &str, id: &str) {
    let key = |rest: &str| busy.key(place, rest);
    let (la, ends, member) = (START, START + 7200, format!("{token}:{id}"));
    let fields = format!("id {id} r 1 w 1 ttl 7200 la {la} ip ::1");
    busy.change(&format!("HSET {} {fields}", key(&format!("forum:{token}"))));
    busy.change(&format!("ZADD {} {la} {member}", key("forum:_sessions")));
    busy.change(&format!("ZADD {} {la} {id}", key("forum:_users")));
    busy.change(&format!("SADD {} {token}", key(&format!("forum:us:{id}"))));
    busy.change(&format!("ZADD {} {ends} forum:{member}", key("SESSIONS")));
}

/// The same token, moved to the next of the 16 shards.
fn in_next_shard(token: &str) -> String {
    let shard = u8::from_str_radix(&token[..2], 16).expect("a shard");
    format!("{:02x}{}", (shard + 1) % 16, &token[2..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_finds_and_removes_sessions_in_a_wrong_shard() {
    let mut busy = BusyNamespace::start(Store::Cluster).await;
    let (forum, talk) = (busy.server.app("forum"), busy.server.app("talk"));
    let (ann, ben) = (forum.create("ann").await, talk.create("ben").await);
    let (elsewhere, nowhere) = (in_next_shard(&ann), format!("ff{}", &ann[2..]));
    // A session to which its token does not lead, one that killsoid does not find, one in an unused shard, and an id
    // that counts twice.
    write(&busy, &elsewhere, &ann, "ann");
    write(&busy, &elsewhere, &elsewhere, "ann");
    write(&busy, &nowhere, &nowhere, "eve");
    busy.change(&format!(
        "ZADD {} {START} ben",
        busy.key(&in_next_shard(&ben), "talk:_users")
    ));
    assert_eq!(talk.activity(7200).await, 2);
    let shard = &elsewhere[..2];
    let lines = [
        r#"session in a shard that its token does not lead to: app forum, id "ann", session "#,
        r#"session in a shard that its id does not lead to: app forum, id "ann", session "#,
        r#"session in a shard that its token does not lead to: app forum, id "eve", session "#,
        r#"entry of _users without a session: app talk, id "ben""#,
    ];
    let found = busy.check(&[]);
    assert!(
        found
            .stdout
            .lines()
            .any(|line| line.ends_with(&format!(", shard {shard}"))),
        "{found:?}"
    );
    busy.assert_repairs(&lines, &[ann.clone(), elsewhere.clone(), nowhere.clone()])
        .await;
    assert_eq!((forum.soid("ann").await.len(), forum.soapp(7200).await.len()), (1, 1));
    assert!(forum.get(&ann).await.is_some() && talk.get(&ben).await.is_some());
    assert!(forum.get(&elsewhere).await.is_none());
    assert_eq!(talk.activity(7200).await, 1);
    for place in [elsewhere, nowhere] {
        let (prefix, keys) = (busy.key(&place, "forum:"), busy.keys());
        assert!(!keys.iter().any(|key| key.starts_with(&prefix)), "{keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_refuses_another_number_of_shards() {
    let mut busy = BusyNamespace::start(Store::Cluster).await;
    let app = busy.server.app("forum");
    let mut tokens = Vec::new();
    for n in 0..32 {
        tokens.push(app.create(&format!("id:{n}")).await);
    }
    for shards in [8, 256] {
        busy.server.config.shards = shards;
        let found = busy.check(&["--repair"]);
        let line = found.refusal(2);
        assert_eq!(
            line,
            "the sessions in this cluster are in 16 shards: --shards must be the same"
        );
    }
    for token in &tokens {
        assert!(app.get(token).await.is_some(), "the check removed a session");
    }
    busy.server.config.shards = 16;
    finds(&busy.check(&[]), 0, &[], false);
    busy.server.config.namespace = redis_server::fresh_namespace();
    let found = busy.check(&["--repair"]);
    assert!(found.refusal(2).contains("stores no number of shards"), "{found:?}");
}

/// Runs a check of the namespace `rs` with four shards.
fn check_at(urls: &str, args: &[&str]) -> Finished {
    let mut all = vec!["--redis-mode", "cluster", "--redis-url", urls, "--shards", "4"];
    all.extend(args);
    check(std::env::temp_dir().as_path(), &all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_refuses_to_run_while_a_slot_migrates() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start(2, 0).expect("a cluster");
    let urls = cluster.urls();
    let args = ["--redis-mode", "cluster", "--redis-url", &urls, "--shards", "4"];
    let process = Process::start(folder.path(), &args);
    let app = process.app();
    let mut tokens = Vec::new();
    for n in 0..24 {
        tokens.push(app.create(&format!("id:{n}")).await);
    }
    let good = check_at(&urls, &[]);
    finds(&good, 0, &[], false);
    assert!(good.stdout.starts_with("24 sessions of 24 ids in 1 apps"), "{good:?}");
    let mut refused = 0;
    for shard in 0..4 {
        let slot: u16 = cluster.nodes[0].ask(&format!("CLUSTER KEYSLOT {{rs:{shard:02x}}}"));
        let (from, to) = if slot < 16384 / 2 { (0, 1) } else { (1, 0) };
        cluster.open_slot(slot, from, to);
        while cluster.move_keys(slot, from, to) {
            let found = check_at(&urls, &["--repair"]);
            let line = found.refusal(2);
            assert_eq!(
                line,
                "cannot check Redis: the cluster is moving slots: check again when it is done"
            );
            refused += 1;
        }
        cluster.close_slot(slot, from, to);
        cluster.agreed().expect("all nodes agree on the owner");
    }
    assert!(refused > 20, "only {refused} checks ran during a migration");
    assert_eq!(check_at(&urls, &["--repair"]).stdout, good.stdout);
    for token in &tokens {
        assert!(app.get(token).await.is_some(), "the check removed a session");
    }
    process.stop();
    cluster.nodes[1].kill();
    let found = check_at(&urls, &[]);
    let line = found.refusal(2);
    assert!(
        line.starts_with("cannot check Redis: ") && line.contains("refused"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_removes_nothing_when_a_slot_begins_to_migrate() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(2, 0).expect("a cluster");
    let urls = cluster.urls();
    let args = ["--redis-mode", "cluster", "--redis-url", &urls, "--shards", "4"];
    let process = Process::start(folder.path(), &args);
    let app = process.app();
    let mut tokens = Vec::new();
    for n in 0..300 {
        tokens.push(app.create(&format!("id:{n}")).await);
    }
    let (end, ended) = channel();
    let moving = tokio::task::spawn_blocking(move || {
        let slot: u16 = cluster.nodes[0].ask("CLUSTER KEYSLOT {rs:00}");
        let (mut from, mut to) = if slot < 16384 / 2 { (0, 1) } else { (1, 0) };
        // Runs until the sender is dropped, as a failing test does too. The pause lets a check begin.
        while ended.recv_timeout(Duration::from_millis(fastrand::u64(0..30))) == Err(RecvTimeoutError::Timeout) {
            cluster.open_slot(slot, from, to);
            while cluster.move_keys(slot, from, to) {}
            cluster.close_slot(slot, from, to);
            cluster.agreed().expect("all nodes agree on the owner");
            (from, to) = (to, from);
        }
        cluster
    });
    for _ in 0..50 {
        let found = check_at(&urls, &["--repair"]);
        if found.code == Some(2) {
            assert!(found.refusal(2).contains("the cluster is moving slots"), "{found:?}");
        } else {
            finds(&found, 0, &[], false);
        }
    }
    drop::<Sender<()>>(end);
    let _cluster = moving.await.expect("no panic");
    let found = check_at(&urls, &[]);
    finds(&found, 0, &[], false);
    assert!(
        found.stdout.starts_with("300 sessions of 300 ids in 1 apps"),
        "{found:?}"
    );
    process.stop();
}

#[test]
fn check_refuses_a_server_that_is_no_cluster() {
    let found = check_at(&redis_server::url(), &[]);
    assert_eq!(found.refusal(2), "cannot check Redis: the server is not a cluster");
    let found = check_at("redis://:secret@127.0.0.1:1,redis://127.0.0.1:1", &[]);
    let line = found.refusal(2);
    assert!(
        line.starts_with("cannot check Redis: ") && !line.contains("secret"),
        "{line}"
    );
}
