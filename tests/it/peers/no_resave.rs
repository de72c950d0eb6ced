//! A session with a fixed end, which neither side may move.

use super::{New, Pair, Version, for_every_peer};

for_every_peer![a_fixed_end_is_the_same_for_both];

async fn a_fixed_end_is_the_same_for_both(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        let new = New {
            ttl: 100,
            no_resave: true,
            ..New::of("ann")
        };
        let token = maker.create(new).await;
        pair.advance(30);
        for (who, idle) in [(user, 30), (maker, 0)] {
            let session = who.get(&token).await.expect("alive");
            assert_eq!((session.no_resave, session.ttl, session.idle), (true, 70, idle));
        }
        pair.advance(20);
        for (who, idle) in [(maker, 20), (user, 0)] {
            let session = who.set(&token, r#"{"a":1}"#).await.expect("alive");
            assert_eq!((session.no_resave, session.ttl, session.idle), (true, 50, idle));
        }
        pair.advance(20);
        for who in [maker, user] {
            let session = who.soid("ann").await.pop().expect("alive");
            assert_eq!((session.no_resave, session.ttl, session.idle), (true, 30, 20));
        }
        pair.advance(30);
        for (who, idle) in [(user, 50), (maker, 0)] {
            let session = who.get(&token).await.expect("the last second counts");
            assert_eq!((session.ttl, session.idle), (0, idle));
        }
        pair.advance(1);
        for who in [maker, user] {
            assert!(who.get(&token).await.is_none());
            assert_eq!(who.kill(&token).await, 0);
        }
        user.killall().await;
    }
    pair.assert_nothing_left();
}
