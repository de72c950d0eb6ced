//! Ids with special characters.

use super::{New, Pair, Version, for_every_peer};
use crate::support::eventually;

for_every_peer![
    each_finds_sessions_of_the_other_by_any_id,
    each_kills_all_sessions_of_the_other_with_any_id,
    the_service_removes_sessions_of_a_peer_with_colons_in_ids,
];

const IDS: &[&str] = &[
    "ann@example.com",
    "Ann Lee",
    " ",
    "김철수",
    "Grüße 😀",
    "a/b?c=d&e#f",
    "100%41",
    "\"quoted\\",
    "{a}*[b]",
    "0",
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
];

/// Ids that the peers' killall and wiper mishandle; their other operations handle them.
const COLONS: &[&str] = &["a:b", ":", "urn:user:김"];

async fn each_finds_sessions_of_the_other_by_any_id(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        for id in IDS.iter().chain(COLONS) {
            let token = maker.create(New::of(id)).await;
            let other = maker.create(New::of(id)).await;
            assert_eq!(user.get(&token).await.expect("alive").id, *id);
            assert_eq!(user.set(&token, r#"{"a":1}"#).await.expect("alive").id, *id);
            let listed = [user.soid(id).await, user.soapp(60).await]
                .map(|list| list.iter().all(|one| one.id == *id) && list.len() == 2);
            assert_eq!(listed, [true; 2], "{id:?}");
            assert_eq!((user.kill(&token).await, maker.activity(60).await), (1, 1), "{id:?}");
            assert_eq!(user.killsoid(id).await, 1, "{id:?}");
            assert!(maker.get(&other).await.is_none());
            pair.assert_no_keys_left();
        }
    }
}

async fn each_kills_all_sessions_of_the_other_with_any_id(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        for id in IDS {
            maker.create(New::of(id)).await;
        }
        assert_eq!(user.killall().await, IDS.len() as u64);
        pair.assert_no_keys_left();
    }
}

async fn the_service_removes_sessions_of_a_peer_with_colons_in_ids(version: Version) {
    let pair = Pair::start_with(version, |config| config.wipe = 1, serde_json::json!({})).await;
    for id in COLONS {
        pair.peer.create(New::of(id)).await;
    }
    assert_eq!(pair.service.killall().await, COLONS.len() as u64);
    pair.assert_no_keys_left();
    for id in COLONS {
        pair.peer.create(New { ttl: 10, ..New::of(id) }).await;
    }
    pair.advance(11);
    eventually("the wiper has removed all keys", async || pair.keys().is_empty()).await;
}
