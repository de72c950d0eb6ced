//! `check` finds and repairs the leftovers of redis-sessions while a peer and the service run.

use super::{New, Pair, Version, for_every_peer};
use crate::{
    check::{check, finds},
    process::Finished,
    support::redis_server,
};

for_every_peer![
    check_finds_the_keys_of_ids_with_colons_that_a_peer_left,
    check_finds_nothing_after_operations_of_both,
];

pub(super) fn run(pair: &Pair, args: &[&str]) -> Finished {
    let (url, namespace) = (redis_server::url(), &pair.server.config.namespace);
    let args = [&["--redis-url", &url, "--namespace", namespace], args].concat();
    check(std::env::temp_dir().as_path(), &args)
}

/// The peer's wiper and killall split index members at every colon.
async fn check_finds_the_keys_of_ids_with_colons_that_a_peer_left(version: Version) {
    let pair = Pair::start_with(version, |_| {}, serde_json::json!({ "wipe": 600 })).await;
    pair.peer
        .create(New {
            ttl: 10,
            ..New::of("a:b")
        })
        .await;
    // The peer's wiper attributes the session to id `a`: it removes the hash and leaves the index entries of `a:b`.
    pair.advance(700);
    crate::support::eventually("the peer's wiper has removed the hash", async || {
        !pair.keys().iter().any(|key| key.len() > 64)
    })
    .await;
    let kept = pair.service.create(New::of("kept:1")).await;
    let lost = [
        r#"entry of _sessions without a session: app forum, id "a:b", session "#,
        r#"entry of us: without a session: app forum, id "a:b", session "#,
        r#"entry of _users without a session: app forum, id "a:b""#,
    ];
    let found = run(&pair, &[]);
    assert_eq!(found.code, Some(1), "{found:?}");
    for line in lost {
        assert!(found.stdout.contains(line), "{line:?} is missing: {found:?}");
    }
    assert_eq!(run(&pair, &["--repair"]).code, Some(0));
    finds(&run(&pair, &[]), 0, &[], false);
    for side in [&pair.service, &pair.peer] {
        assert_eq!(side.get(&kept).await.expect("alive").id, "kept:1");
        assert_eq!((side.activity(7200).await, side.soapp(7200).await.len()), (1, 1));
    }
    assert_eq!(pair.service.kill(&kept).await, 1);
    pair.assert_no_keys_left();
}

async fn check_finds_nothing_after_operations_of_both(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        for no_resave in [false, true] {
            let token = maker
                .create(New {
                    no_resave,
                    d: r#"{"a":1}"#,
                    ..New::of("a:b")
                })
                .await;
            for step in [0, 1, 1, 2, 30, 1] {
                pair.advance(step);
                assert!(user.get(&token).await.is_some());
                assert!(maker.get(&token).await.is_some());
                assert!(user.set(&token, r#"{"b":2}"#).await.is_some());
                finds(&run(&pair, &[]), 0, &[], false);
            }
        }
    }
    assert_eq!(pair.peer.killsoid("a:b").await, 4);
    pair.assert_no_keys_left();
}
