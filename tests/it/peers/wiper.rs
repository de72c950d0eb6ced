//! The wiper of one side removes expired sessions of the other side, and nothing else.

use serde_json::json;

use super::{New, Pair, Version, for_every_peer, side::Side};
use crate::support::eventually;

for_every_peer![
    the_peer_wipes_expired_sessions_of_the_service,
    the_service_wipes_expired_sessions_of_the_peer,
];

async fn the_peer_wipes_expired_sessions_of_the_service(version: Version) {
    // The peer's wiper timer runs on the mock clock: it fires at the tenth second, during the second advance below.
    let pair = Pair::start_with(version, |_| {}, json!({ "wipe": 10 })).await;
    assert_wiped(&pair, &pair.service).await;
}

async fn the_service_wipes_expired_sessions_of_the_peer(version: Version) {
    let pair = Pair::start_with(version, |config| config.wipe = 1, json!({})).await;
    assert_wiped(&pair, &pair.peer).await;
}

async fn assert_wiped(pair: &Pair, maker: &Side) {
    let short = |id| New { ttl: 10, ..New::of(id) };
    for id in ["ann", "ann", "ann@example.com", "Ann Lee", "김철수"] {
        maker.create(short(id)).await;
    }
    maker
        .create(New {
            no_resave: true,
            ..short("fixed")
        })
        .await;
    let read = maker.create(short("bob")).await;
    let written = maker.create(short("carl")).await;
    let long = maker.create(New::of("ann")).await;
    pair.advance(6);
    // These are renewed, so they outlive their first ttl.
    maker.get(&read).await.expect("alive");
    maker.set(&written, r#"{"a":1}"#).await.expect("alive");
    pair.advance(5);
    let mut left = vec![
        pair.key("SESSIONS"),
        pair.key("forum:_sessions"),
        pair.key("forum:_users"),
    ];
    for (id, token) in [("bob", &read), ("carl", &written), ("ann", &long)] {
        left.push(pair.key(&format!("forum:us:{id}")));
        left.push(pair.key(&format!("forum:{token}")));
    }
    left.sort_unstable();
    // The activity count, too: version 3 of the peer updates `_users` some time after the other keys.
    eventually("the expired sessions are removed", async || {
        pair.keys() == left && pair.service.activity(60).await == 3
    })
    .await;
    for side in [&pair.service, &pair.peer] {
        assert_eq!((side.soapp(60).await.len(), side.activity(60).await), (3, 3));
    }
    assert_eq!(maker.killall().await, 3);
    pair.assert_no_keys_left();
}
