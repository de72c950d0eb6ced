//! What can be wrong on a cluster only: sessions in places where nobody looks for them, and clusters that cannot be checked.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    time::Duration,
};

use super::{check, finds, redis::Busy};
use crate::{
    process::{Finished, Process},
    support::{START, Store, redis_cluster::Cluster, redis_server},
};

/// Writes a session as a service would that takes its place for the one that the token given first leads to.
fn write(busy: &Busy, place: &str, token: &str, id: &str) {
    let key = |rest: &str| busy.key(place, rest);
    let (la, ends, member) = (START, START + 7200, format!("{token}:{id}"));
    let fields = format!("id {id} r 1 w 1 ttl 7200 la {la} ip ::1");
    busy.change(&format!("HSET {} {fields}", key(&format!("forum:{token}"))));
    busy.change(&format!("ZADD {} {la} {member}", key("forum:_sessions")));
    busy.change(&format!("ZADD {} {la} {id}", key("forum:_users")));
    busy.change(&format!("SADD {} {token}", key(&format!("forum:us:{id}"))));
    busy.change(&format!("ZADD {} {ends} forum:{member}", key("SESSIONS")));
}

/// The token of the shard that comes after another one's, of 16.
fn next(token: &str) -> String {
    let shard = u8::from_str_radix(&token[..2], 16).expect("a shard");
    format!("{:02x}{}", (shard + 1) % 16, &token[2..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_in_a_wrong_shard_are_found_and_removed() {
    let mut busy = Busy::start(Store::Cluster).await;
    let (forum, talk) = (busy.server.app("forum"), busy.server.app("talk"));
    let (ann, ben) = (forum.create("ann").await, talk.create("ben").await);
    let (elsewhere, nowhere) = (next(&ann), format!("ff{}", &ann[2..]));
    // Where no token leads to, where killsoid does not look, in a shard that is not used, and an id that counts twice.
    write(&busy, &elsewhere, &ann, "ann");
    write(&busy, &elsewhere, &elsewhere, "ann");
    write(&busy, &nowhere, &nowhere, "eve");
    busy.change(&format!("ZADD {} {START} ben", busy.key(&next(&ben), "talk:_users")));
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
    busy.mends(&lines, &[ann.clone(), elsewhere.clone(), nowhere.clone()])
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
async fn another_number_of_shards_is_refused() {
    let mut busy = Busy::start(Store::Cluster).await;
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
        assert!(app.get(token).await.is_some(), "nothing was removed");
    }
    busy.server.config.shards = 16;
    finds(&busy.check(&[]), 0, &[], false);
    busy.server.config.namespace = redis_server::fresh_namespace();
    let found = busy.check(&["--repair"]);
    assert!(found.refusal(2).contains("stores no number of shards"), "{found:?}");
}

/// A check of the namespace `rs` in four shards.
fn check_at(urls: &str, args: &[&str]) -> Finished {
    let mut all = vec!["--redis-mode", "cluster", "--redis-url", urls, "--shards", "4"];
    all.extend(args);
    check(std::env::temp_dir().as_path(), &all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_is_not_taken_for_missing() {
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
        cluster.agreed().expect("all nodes hear of it");
    }
    assert!(refused > 20, "only {refused} checks met keys on their way");
    assert_eq!(check_at(&urls, &["--repair"]).stdout, good.stdout);
    for token in &tokens {
        assert!(app.get(token).await.is_some(), "nothing was removed");
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
async fn slots_that_begin_to_move_meanwhile_cost_nothing() {
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
        // Until the other end is gone, also by a failure; the pause is for a check to begin.
        while ended.recv_timeout(Duration::from_millis(fastrand::u64(0..30))) == Err(RecvTimeoutError::Timeout) {
            cluster.open_slot(slot, from, to);
            while cluster.move_keys(slot, from, to) {}
            cluster.close_slot(slot, from, to);
            cluster.agreed().expect("all nodes hear of it");
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
fn what_is_no_cluster_is_told() {
    let found = check_at(&redis_server::url(), &[]);
    assert_eq!(found.refusal(2), "cannot check Redis: the server is not a cluster");
    let found = check_at("redis://:secret@127.0.0.1:1,redis://127.0.0.1:1", &[]);
    let line = found.refusal(2);
    assert!(
        line.starts_with("cannot check Redis: ") && !line.contains("secret"),
        "{line}"
    );
}
