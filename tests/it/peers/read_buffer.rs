//! What a read of the service changes may reach Redis a little later. Meanwhile the peer may do anything.

use std::time::Duration;

use rest_sessions::config::Span;
use serde_json::json;

use super::{New, Pair, Version, for_every_peer};
use crate::support::{App, eventually};

for_every_peer![
    the_peer_learns_of_a_read_in_time,
    a_late_read_adds_to_what_the_peer_wrote,
    a_late_read_moves_no_fixed_end,
    a_late_read_brings_nothing_back,
];

/// A pair whose service writes reads only if it has to, as [`write`] makes it.
async fn start(version: Version) -> (Pair, App) {
    let late = Span(Duration::from_mins(1));
    let pair = Pair::start_with(version, |config| config.touch = late, json!({})).await;
    let app = pair.server.app("forum");
    (pair, app)
}

/// Makes the service write what it has left for later.
async fn write(app: &App) {
    app.activity(10).await;
}

async fn the_peer_learns_of_a_read_in_time(version: Version) {
    let pair = Pair::start(version).await;
    let app = pair.server.app("forum");
    let token = pair.peer.create(New::of("ann")).await;
    pair.advance(30);
    app.get(&token).await.expect("alive");
    eventually("the peer knows of the read", async || {
        let session = pair.peer.soid("ann").await.pop().expect("alive");
        (session.r, session.idle) == (2, 0)
    })
    .await;
    assert_eq!(pair.peer.kill(&token).await, 1);
    pair.assert_nothing_left();
}

async fn a_late_read_adds_to_what_the_peer_wrote(version: Version) {
    let (pair, app) = start(version).await;
    for (maker, _) in pair.directions() {
        let token = maker.create(New::of("ann")).await;
        pair.advance(30);
        app.get(&token).await.expect("alive");
        pair.advance(10);
        assert_eq!(pair.peer.set(&token, r#"{"a":1}"#).await.expect("alive").w, 2);
        pair.peer.get(&token).await.expect("alive");
        write(&app).await;
        for side in [&pair.service, &pair.peer] {
            let session = side.soid("ann").await.pop().expect("alive");
            assert_eq!((session.r, session.w, session.idle), (3, 2, 0));
            assert_eq!(session.d(), r#"{"a":1}"#);
        }
        pair.advance(10);
        assert_eq!((pair.peer.soapp(10).await.len(), pair.peer.activity(10).await), (1, 1));
        assert_eq!(pair.peer.kill(&token).await, 1);
    }
    pair.assert_nothing_left();
}

async fn a_late_read_moves_no_fixed_end(version: Version) {
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
        write(&app).await;
        pair.advance(20);
        assert_eq!(app.get(&token).await.expect("alive").ttl, 40);
        write(&app).await;
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
    pair.assert_nothing_left();
}

async fn a_late_read_brings_nothing_back(version: Version) {
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
            write(&app).await;
            pair.assert_nothing_left();
        }
    }
}
