//! A `no_resave` session: neither side renews it, and both compute the same end.

use super::{New, Pair, Version, for_every_peer};

for_every_peer![both_compute_the_same_end_of_a_no_resave_session];

async fn both_compute_the_same_end_of_a_no_resave_session(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        let new = New {
            ttl: 100,
            no_resave: true,
            ..New::of("ann")
        };
        let token = maker.create(new).await;
        pair.advance(30);
        for (side, idle) in [(user, 30), (maker, 0)] {
            let session = side.get(&token).await.expect("alive");
            assert_eq!((session.no_resave, session.ttl, session.idle), (true, 70, idle));
        }
        pair.advance(20);
        for (side, idle) in [(maker, 20), (user, 0)] {
            let session = side.set(&token, r#"{"a":1}"#).await.expect("alive");
            assert_eq!((session.no_resave, session.ttl, session.idle), (true, 50, idle));
        }
        pair.advance(20);
        for side in [maker, user] {
            let session = side.soid("ann").await.pop().expect("alive");
            assert_eq!((session.no_resave, session.ttl, session.idle), (true, 30, 20));
        }
        pair.advance(30);
        for (side, idle) in [(user, 50), (maker, 0)] {
            let session = side.get(&token).await.expect("the last second counts");
            assert_eq!((session.ttl, session.idle), (0, idle));
        }
        pair.advance(1);
        for side in [maker, user] {
            assert!(side.get(&token).await.is_none());
            assert_eq!(side.kill(&token).await, 0);
        }
        user.killall().await;
    }
    pair.assert_no_keys_left();
}
