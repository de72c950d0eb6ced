//! What the operator says about the servers.

use std::path::PathBuf;

/// What kind of servers the URLs lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// The server that has the sessions.
    Single,
    /// Sentinels, which know where the master of this name is.
    Sentinel(String),
    /// Nodes of a cluster, which know all others.
    Cluster,
}

/// How to find the servers. No `Debug`: there are passwords in it.
#[derive(Clone)]
pub struct Address {
    /// `redis://[user:password@]host[:port][/db]`, the same with `rediss://` for TLS, or `redis+unix:///path`; several with
    /// commas between them for sentinels and nodes of a cluster. To sentinels, user and password are those of the URL; the
    /// database is the master's.
    pub urls: String,
    /// What they lead to.
    pub mode: Deployment,
    /// User of the servers that have the sessions, if not in the URL.
    pub username: Option<String>,
    /// Password of these servers, if not in the URL.
    pub password: Option<String>,
    /// Password of the sentinels, if not in their URLs.
    pub sentinel_password: Option<String>,
    /// Whether the master that sentinels name speaks TLS, if that is not as with the sentinels.
    pub master_tls: Option<bool>,
    /// PEM file with the authorities that sign the servers' certificates; without it the system's count.
    pub ca: Option<PathBuf>,
    /// PEM files with a certificate of our own and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}
