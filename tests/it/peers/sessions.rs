//! Service and peer read, change and renew the same session.

use super::{New, Pair, Version, for_every_peer, side::IP};

for_every_peer![
    each_reads_a_session_of_the_other,
    each_changes_a_session_of_the_other,
    each_renews_a_session_of_the_other,
    each_sees_a_session_of_the_other_expire,
];

async fn each_reads_a_session_of_the_other(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        let new = New {
            ttl: 600,
            d: r#"{"a":1,"b":"two"}"#,
            ..New::of("ann")
        };
        let token = maker.create(new).await;
        pair.advance(7);
        let session = user.get(&token).await.expect("alive");
        assert_eq!((session.id.as_str(), session.ip.as_str()), ("ann", IP));
        assert_eq!((session.r, session.w, session.ttl, session.idle), (1, 1, 600, 7));
        assert_eq!((session.no_resave, session.d()), (false, new.d));
        let session = maker.get(&token).await.expect("alive");
        assert_eq!((session.r, session.w, session.idle), (2, 1, 0));
        assert_eq!(user.get(&token).await.expect("alive").r, 3);
        assert_eq!(user.kill(&token).await, 1);
    }
    pair.assert_no_keys_left();
}

async fn each_changes_a_session_of_the_other(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        let new = New {
            d: r#"{"x":1,"a":true,"m":"text"}"#,
            ..New::of("ann")
        };
        let token = maker.create(new).await;
        // They change the session in turn. Existing keys keep their order.
        for (side, change, w, d) in [
            (user, r#"{"n":2.5}"#, 2, r#"{"x":1,"a":true,"m":"text","n":2.5}"#),
            (maker, r#"{"a":false}"#, 3, r#"{"x":1,"a":false,"m":"text","n":2.5}"#),
            (user, r#"{"x":null,"no":null}"#, 4, r#"{"a":false,"m":"text","n":2.5}"#),
            (
                maker,
                r#"{"x":"new"}"#,
                5,
                r#"{"a":false,"m":"text","n":2.5,"x":"new"}"#,
            ),
            (user, r#"{"a":null,"m":null,"n":null,"x":null}"#, 6, ""),
            (maker, r#"{"again":1}"#, 7, r#"{"again":1}"#),
        ] {
            let session = side.set(&token, change).await.expect("alive");
            assert_eq!((session.w, session.d()), (w, d), "{change}");
            for side in [maker, user] {
                let session = side.soid("ann").await.pop().expect("alive");
                assert_eq!((session.r, session.w, session.d()), (1, w, d), "{change}");
            }
        }
        assert_eq!(user.kill(&token).await, 1);
    }
    pair.assert_no_keys_left();
}

async fn each_renews_a_session_of_the_other(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        let new = New {
            ttl: 10,
            ..New::of("ann")
        };
        let token = maker.create(new).await;
        for side in [user, maker, user, user, maker, maker] {
            pair.advance(10);
            assert_eq!(side.get(&token).await.expect("the last second counts").idle, 10);
            pair.advance(9);
            assert_eq!(side.set(&token, r#"{"a":1}"#).await.expect("alive").idle, 9);
        }
        assert_eq!(user.kill(&token).await, 1);
    }
    pair.assert_no_keys_left();
}

async fn each_sees_a_session_of_the_other_expire(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        let new = New {
            ttl: 10,
            ..New::of("ann")
        };
        let token = maker.create(new).await;
        pair.advance(11);
        for side in [user, maker] {
            assert!(side.get(&token).await.is_none());
            assert!(side.set(&token, r#"{"a":1}"#).await.is_none());
            assert_eq!(side.soid("ann").await.len(), 0);
            assert_eq!(side.soapp(600).await.len(), 0);
        }
        user.killall().await;
    }
    pair.assert_no_keys_left();
}
