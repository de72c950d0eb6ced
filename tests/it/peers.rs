//! Compatibility with the npm package redis-sessions: service and peer share one Redis, and each reads, changes, lists,
//! kills and wipes the sessions of the other. Every test runs for both peer versions, most of them in both directions.
//!
//! The tests avoid one known fault of the peers: their killall and wiper split index members at every colon, so they
//! leave keys of ids with a colon behind. The service must handle such sessions of a peer nevertheless.

mod cache;
mod check;
mod clock;
mod further_fields;
mod ids;
mod kills;
mod lists;
mod no_resave;
mod peer;
mod read_buffer;
mod sessions;
mod side;
mod values;
mod wiper;

use serde_json::{Value, json};

use self::{
    peer::{Peer, Version},
    side::{New, Side},
};
use crate::support::{START, Server, Store, redis_server};
use rest_sessions::config::Config;

/// Makes each named `async fn(Version)` a test of both peer versions.
macro_rules! for_every_peer {
    ($($test:ident),+ $(,)?) => {
        $crate::peers::for_one_peer!(v3, V3, $($test),+);
        $crate::peers::for_one_peer!(v4, V4, $($test),+);
    };
}

/// The tests of [`for_every_peer`] for one version.
macro_rules! for_one_peer {
    ($name:ident, $version:ident, $($test:ident),+) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::peers::Version::$version).await;
                }
            )+
        }
    };
}

use {for_every_peer, for_one_peer};

/// The service and a peer with the same app, namespace and clock.
struct Pair {
    server: Server,
    service: Side,
    peer: Side,
}

impl Pair {
    /// Starts a pair without wipers and caches.
    async fn start(version: Version) -> Self {
        Self::start_with(version, |_| {}, json!({})).await
    }

    /// Starts a pair with some options of the service changed and further options for the peer.
    async fn start_with(version: Version, change: impl FnOnce(&mut Config), more: Value) -> Self {
        let server = Server::start_with(Store::Redis, change).await;
        let mut options = json!({ "now": START, "wipe": 0 });
        for (name, value) in more.as_object().expect("options") {
            options[name] = value.clone();
        }
        let peer = Peer::start(version, "forum", &server.config.namespace, options);
        Self {
            service: Side::Service(server.app("forum")),
            peer: Side::Peer(peer),
            server,
        }
    }

    /// The creator and the user of sessions, in both assignments.
    fn directions(&self) -> [(&Side, &Side); 2] {
        [(&self.service, &self.peer), (&self.peer, &self.service)]
    }

    /// Advances the clock of both, which stands still otherwise.
    fn advance(&self, seconds: u64) {
        self.server.advance(seconds);
        if let Side::Peer(peer) = &self.peer {
            peer.advance(seconds);
        }
    }

    /// A key in the namespace.
    fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.server.config.namespace)
    }

    /// All keys in the namespace.
    fn keys(&self) -> Vec<String> {
        redis_server::keys(&self.server.config.namespace)
    }

    /// Asserts that no key is left in the namespace.
    #[track_caller]
    fn assert_no_keys_left(&self) {
        assert_eq!(self.keys(), [""; 0]);
    }
}
