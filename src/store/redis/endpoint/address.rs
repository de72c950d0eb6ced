//! The options with which the operator names the servers.

use std::path::PathBuf;

/// The kind of servers behind the URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// One server, which has the sessions.
    Single,
    /// Sentinels, which know the address of the master of this name.
    Sentinel(String),
    /// Nodes of a cluster.
    Cluster,
}

/// How to reach the servers. No `Debug`, as it contains passwords.
#[derive(Clone)]
pub struct Address {
    /// `redis://[user:password@]host[:port][/db]`, the same with `rediss://` for TLS, or `redis+unix:///path`; several
    /// with commas between them for sentinels and nodes of a cluster. To sentinels, user and password are those of the
    /// URL; the database is the master's.
    pub urls: String,
    /// The kind of servers behind them.
    pub mode: Deployment,
    /// User of the servers that have the sessions, if not in the URL.
    pub username: Option<String>,
    /// Password of these servers, if not in the URL.
    pub password: Option<String>,
    /// Password of the sentinels, if not in their URLs.
    pub sentinel_password: Option<String>,
    /// Whether the master behind sentinels speaks TLS, if that differs from the sentinels.
    pub master_tls: Option<bool>,
    /// PEM file with the authorities that sign the certificates of servers; without it, those of the system.
    pub ca: Option<PathBuf>,
    /// PEM files with the certificate of this client and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}
