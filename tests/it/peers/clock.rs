//! The service's binary and a peer on the system clock.

use serde_json::json;

use super::{New, Peer, Side, Version, for_every_peer};
use crate::{process::Process, support::redis_server};

for_every_peer![the_binary_and_a_peer_share_sessions];

async fn the_binary_and_a_peer_share_sessions(version: Version) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let namespace = redis_server::fresh_namespace();
    let mut command = Process::command(folder.path(), &[]);
    command
        .env("RS_REDIS_URL", redis_server::url())
        .env("RS_NAMESPACE", &namespace);
    let program = Process::spawn(command);
    let service = Side::Service(program.app());
    let peer = Side::Peer(Peer::start(version, "test-app", &namespace, json!({})));
    for (maker, user) in [(&service, &peer), (&peer, &service)] {
        let token = maker
            .create(New {
                ttl: 1000,
                ..New::of("ann")
            })
            .await;
        let session = user.get(&token).await.expect("alive");
        assert_eq!((session.id.as_str(), session.ttl), ("ann", 1000));
        // Both store `la` in seconds since the same epoch.
        assert!(session.idle < 100, "{session:?}");
        assert_eq!(user.set(&token, r#"{"a":1}"#).await.expect("alive").w, 2);
        assert_eq!(maker.get(&token).await.expect("alive").d(), r#"{"a":1}"#);
        assert_eq!((user.soapp(500).await.len(), user.activity(500).await), (1, 1));
        assert_eq!(user.kill(&token).await, 1);
        assert_eq!(redis_server::keys(&namespace), [""; 0]);
    }
    program.stop();
}
