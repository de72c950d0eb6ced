//! One interface to the service and to a peer: each operation is a function of the same name with the same answer.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::peer::Peer;
use crate::support::{App, Session};

/// The `ip` of all created sessions.
pub(super) const IP: &str = "127.0.0.1";

/// The service or a peer.
pub(super) enum Side {
    Service(App),
    Peer(Peer),
}

/// A session to create.
#[derive(Clone, Copy)]
pub(super) struct New<'a> {
    pub(super) id: &'a str,
    pub(super) ttl: u64,
    pub(super) no_resave: bool,
    /// JSON text; empty for none.
    pub(super) d: &'a str,
}

impl<'a> New<'a> {
    /// A session with the default ttl and without data.
    pub(super) fn of(id: &'a str) -> Self {
        Self {
            id,
            ttl: 7200,
            no_resave: false,
            d: "",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Killed {
    kill: u64,
}

impl Side {
    /// Creates a session and returns its token.
    pub(super) async fn create(&self, new: New<'_>) -> String {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Created {
            token: String,
        }
        let New { id, ttl, no_resave, d } = new;
        match self {
            Self::Service(app) => {
                app.create_with(id, &format!("ttl={ttl}&no_resave={no_resave}"), d)
                    .await
            }
            Self::Peer(peer) => {
                let with = json!({ "id": id, "ip": IP, "ttl": ttl, "no_resave": no_resave });
                parse::<Created>(&peer.call_with_data("create", with, d)).token
            }
        }
    }

    pub(super) async fn get(&self, token: &str) -> Option<Session> {
        match self {
            Self::Service(app) => {
                let session = app.get(token).await;
                // `activity` flushes the read buffer, so that the peer sees this read.
                app.activity(10).await;
                session
            }
            Self::Peer(peer) => Session::parse(&peer.call("get", json!({ "token": token }))),
        }
    }

    pub(super) async fn set(&self, token: &str, d: &str) -> Option<Session> {
        match self {
            Self::Service(app) => app.set(token, d).await,
            Self::Peer(peer) => Session::parse(&peer.call_with_data("set", json!({ "token": token }), d)),
        }
    }

    pub(super) async fn activity(&self, dt: u64) -> u64 {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Activity {
            activity: u64,
        }
        match self {
            Self::Service(app) => app.activity(dt).await,
            Self::Peer(peer) => parse::<Activity>(&peer.call("activity", json!({ "dt": dt }))).activity,
        }
    }

    pub(super) async fn soapp(&self, dt: u64) -> Vec<Session> {
        match self {
            Self::Service(app) => app.soapp(dt).await,
            Self::Peer(peer) => sessions(peer, "soapp", json!({ "dt": dt })),
        }
    }

    pub(super) async fn soid(&self, id: &str) -> Vec<Session> {
        match self {
            Self::Service(app) => app.soid(id).await,
            Self::Peer(peer) => sessions(peer, "soid", json!({ "id": id })),
        }
    }

    pub(super) async fn kill(&self, token: &str) -> u64 {
        match self {
            Self::Service(app) => app.kill(token).await,
            Self::Peer(peer) => parse::<Killed>(&peer.call("kill", json!({ "token": token }))).kill,
        }
    }

    pub(super) async fn killsoid(&self, id: &str) -> u64 {
        match self {
            Self::Service(app) => app.killsoid(id).await,
            Self::Peer(peer) => parse::<Killed>(&peer.call("killsoid", json!({ "id": id }))).kill,
        }
    }

    pub(super) async fn killall(&self) -> u64 {
        match self {
            Self::Service(app) => app.killall().await,
            Self::Peer(peer) => parse::<Killed>(&peer.call("killall", json!({}))).kill,
        }
    }
}

fn sessions(peer: &Peer, call: &str, with: Value) -> Vec<Session> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        sessions: Vec<Session>,
    }
    parse::<List>(&peer.call(call, with)).sessions
}

fn parse<T: DeserializeOwned>(answer: &str) -> T {
    serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error} in {answer}"))
}
