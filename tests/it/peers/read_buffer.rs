//! Buffered reads of the service: they reach Redis with a delay, and the peer may change the session meanwhile.

use std::time::Duration;

use rest_sessions::config::DurationArg;
use serde_json::json;

use super::{New, Pair, Version, for_every_peer};
use crate::support::{App, eventually};

for_every_peer![
    the_peer_sees_a_buffered_read_after_its_flush,
    a_buffered_read_keeps_changes_of_the_peer,
    a_buffered_read_renews_no_no_resave_session,
    a_buffered_read_does_not_recreate_a_killed_session,
];

/// A pair whose service flushes its read buffer only when [`flush`] makes it.
async fn start(version: Version) -> (Pair, App) {
    let delay = DurationArg(Duration::from_mins(1));
    let pair = Pair::start_with(version, |config| config.touch = delay, json!({})).await;
    let app = pair.server.app("forum");
    (pair, app)
}

/// Makes the service flush its read buffer: `activity` needs current indexes.
async fn flush(app: &App) {
    app.activity(10).await;
}

async fn the_peer_sees_a_buffered_read_after_its_flush(version: Version) {
    let pair = Pair::start(version).await;
    let app = pair.server.app("forum");
    let token = pair.peer.create(New::of("ann")).await;
    pair.advance(30);
    app.get(&token).await.expect("alive");
    eventually("the peer sees the read", async || {
        let session = pair.peer.soid("ann").await.pop().expect("alive");
        (session.r, session.idle) == (2, 0)
    })
    .await;
    assert_eq!(pair.peer.kill(&token).await, 1);
    pair.assert_no_keys_left();
}

async fn a_buffered_read_keeps_changes_of_the_peer(version: Version) {
    let (pair, app) = start(version).await;
    for (maker, _) in pair.directions() {
        let token = maker.create(New::of("ann")).await;
        pair.advance(30);
        app.get(&token).await.expect("alive");
        pair.advance(10);
        assert_eq!(pair.peer.set(&token, r#"{"a":1}"#).await.expect("alive").w, 2);
        pair.peer.get(&token).await.expect("alive");
        flush(&app).await;
        for side in [&pair.service, &pair.peer] {
            let session = side.soid("ann").await.pop().expect("alive");
            assert_eq!((session.r, session.w, session.idle), (3, 2, 0));
            assert_eq!(session.d(), r#"{"a":1}"#);
        }
        pair.advance(10);
        assert_eq!((pair.peer.soapp(10).await.len(), pair.peer.activity(10).await), (1, 1));
        assert_eq!(pair.peer.kill(&token).await, 1);
    }
    pair.assert_no_keys_left();
}

async fn a_buffered_read_renews_no_no_resave_session(version: Version) {
    let (pair, app) = start(version).await;
    for (maker, _) in pair.directions() {
        let new = New {
            ttl: 100,
            no_resave: true,
            ..New::of("ann")
        };
        let token = maker.create(new).await;
        pair.advance(30);
        app.get(&token).await.expect("alive");
        pair.advance(10);
        assert_eq!(pair.peer.get(&token).await.expect("alive").ttl, 60);
        flush(&app).await;
        pair.advance(20);
        assert_eq!(app.get(&token).await.expect("alive").ttl, 40);
        flush(&app).await;
        pair.advance(40);
        for side in [&pair.peer, &pair.service] {
            let session = side.soid("ann").await.pop().expect("the last second counts");
            assert_eq!((session.r, session.ttl), (4, 0));
        }
        pair.advance(1);
        for side in [&pair.peer, &pair.service] {
            assert!(side.get(&token).await.is_none());
        }
        app.killall().await;
    }
    pair.assert_no_keys_left();
}

async fn a_buffered_read_does_not_recreate_a_killed_session(version: Version) {
    let (pair, app) = start(version).await;
    for (maker, _) in pair.directions() {
        for kill in ["kill", "killsoid", "killall"] {
            let token = maker.create(New::of("ann")).await;
            pair.advance(30);
            app.get(&token).await.expect("alive");
            let killed = match kill {
                "kill" => pair.peer.kill(&token).await,
                "killsoid" => pair.peer.killsoid("ann").await,
                _ => pair.peer.killall().await,
            };
            assert_eq!(killed, 1, "{kill}");
            assert!(app.get(&token).await.is_none(), "{kill}");
            flush(&app).await;
            pair.assert_no_keys_left();
        }
    }
}
