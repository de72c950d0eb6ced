//! The wiper of one side removes what the other made, once it has expired, and nothing else.

use serde_json::json;

use super::{New, Pair, Version, for_every_peer, side::Side};
use crate::support::eventually;

for_every_peer![
    the_peer_wipes_what_the_service_made,
    the_service_wipes_what_the_peer_made,
];

async fn the_peer_wipes_what_the_service_made(version: Version) {
    // Its timer runs on the clock that stands still, so it is due at the tenth second and with no other step below.
    let pair = Pair::start_with(version, |_| {}, json!({ "wipe": 10 })).await;
    assert_wiped(&pair, &pair.service).await;
}

async fn the_service_wipes_what_the_peer_made(version: Version) {
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
    // Renewed: their first end is no end.
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
    // The count as well: version 3 of the peer takes an id out of it some time after the keys.
    eventually("the expired ones are removed", async || {
        pair.keys() == left && pair.service.activity(60).await == 3
    })
    .await;
    for side in [&pair.service, &pair.peer] {
        assert_eq!((side.soapp(60).await.len(), side.activity(60).await), (3, 3));
    }
    assert_eq!(maker.killall().await, 3);
    pair.assert_nothing_left();
}
