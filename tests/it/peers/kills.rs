//! A kill by one side ends the session for both and leaves no key.

use super::{New, Pair, Version, for_every_peer};

for_every_peer![
    each_kills_a_session_of_the_other,
    each_kills_the_sessions_of_an_id,
    each_kills_all_sessions_of_the_app,
];

async fn each_kills_a_session_of_the_other(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        let token = maker.create(New::of("ann")).await;
        let other = maker.create(New::of("ann")).await;
        assert_eq!(user.kill(&token).await, 1);
        for side in [maker, user] {
            assert!(side.get(&token).await.is_none());
            assert!(side.set(&token, r#"{"a":1}"#).await.is_none());
            assert_eq!(side.kill(&token).await, 0);
            assert_eq!((side.soid("ann").await.len(), side.activity(60).await), (1, 1));
        }
        assert_eq!(user.kill(&other).await, 1);
        pair.assert_no_keys_left();
    }
}

async fn each_kills_the_sessions_of_an_id(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        for side in [maker, maker, user] {
            side.create(New::of("ann")).await;
        }
        let bob = maker.create(New::of("bob")).await;
        assert_eq!(user.killsoid("ann").await, 3);
        assert_eq!(maker.killsoid("ann").await, 0);
        assert_eq!((maker.soid("ann").await.len(), maker.activity(60).await), (0, 1));
        assert!(user.get(&bob).await.is_some());
        assert_eq!(user.killsoid("bob").await, 1);
        pair.assert_no_keys_left();
    }
}

async fn each_kills_all_sessions_of_the_app(version: Version) {
    let pair = Pair::start(version).await;
    let shop = pair.server.app("shop");
    for (maker, user) in pair.directions() {
        let elsewhere = shop.create("ann").await;
        for id in ["ann", "ann", "bob", "carl"] {
            maker.create(New::of(id)).await;
        }
        user.create(New::of("ann")).await;
        assert_eq!(user.killall().await, 5);
        assert_eq!(maker.killall().await, 0);
        assert_eq!((maker.soapp(60).await.len(), maker.activity(60).await), (0, 0));
        assert_eq!(shop.kill(&elsewhere).await, 1);
        pair.assert_no_keys_left();
    }
}
