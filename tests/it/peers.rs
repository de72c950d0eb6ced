//! The service and the real redis-sessions of npm, both versions, side by side on one Redis: each reads, changes, lists,
//! kills and wipes the sessions of the other. Every test is written once, for both versions and both directions.
//!
//! One known fault of the peers is left out: where they split an index member at every colon, in killall and in the wiper,
//! they leave behind what belongs to an id with a colon. The service has to manage such sessions of a peer all the same.

mod cache;
mod check;
mod clock;
mod further_fields;
mod ids;
mod kills;
mod late;
mod lists;
mod no_resave;
mod peer;
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

/// Stamps each named function, an `async fn(Version)`, as a test of both versions.
macro_rules! for_every_peer {
    ($($test:ident),+ $(,)?) => {
        $crate::peers::for_one_peer!(v3, V3, $($test),+);
        $crate::peers::for_one_peer!(v4, V4, $($test),+);
    };
}

/// Half of [`for_every_peer`].
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

/// The service and a peer with one app, one namespace and one clock.
struct Pair {
    server: Server,
    service: Side,
    peer: Side,
}

impl Pair {
    /// A pair of which neither wipes or caches.
    async fn start(version: Version) -> Self {
        Self::start_with(version, |_| {}, json!({})).await
    }

    /// A pair with some options of the service changed, and some more of the peer.
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

    /// Who makes sessions and who uses them: the service and the peer, and the other way round.
    fn directions(&self) -> [(&Side, &Side); 2] {
        [(&self.service, &self.peer), (&self.peer, &self.service)]
    }

    /// Moves the clock of both, which stands still otherwise.
    fn advance(&self, seconds: u64) {
        self.server.advance(seconds);
        if let Side::Peer(peer) = &self.peer {
            peer.advance(seconds);
        }
    }

    /// The key of something in the namespace.
    fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.server.config.namespace)
    }

    /// Everything in the namespace.
    fn keys(&self) -> Vec<String> {
        redis_server::keys(&self.server.config.namespace)
    }

    /// What every test ends with.
    #[track_caller]
    fn assert_nothing_left(&self) {
        assert_eq!(self.keys(), [""; 0]);
    }
}
