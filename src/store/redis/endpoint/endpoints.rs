//! From the options of the operator to connection settings.

use std::sync::Arc;

use deadpool_redis::redis::{ConnectionAddr, ConnectionInfo, RedisConnectionInfo};
use rustls::ClientConfig;

use crate::store::redis::endpoint::{
    address::{Address, Deployment},
    certificates::certificates,
    url::{MASTER_WITH_TLS, info, library_settings, urls},
};

/// Where and how to connect. It contains passwords, so it has no `Debug`.
pub(crate) struct Endpoints {
    pub(crate) mode: Deployment,
    /// The servers of the URLs.
    pub(crate) first: Vec<ConnectionInfo>,
    /// User, password and database of the servers that have the sessions.
    settings: RedisConnectionInfo,
    /// The kind of address of announced servers: TLS, and with which certificates.
    form: ConnectionAddr,
    /// How connections are secured, if they are.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Endpoints {
    /// Fails with one line, free of secrets, if the options are invalid.
    pub(crate) fn new(address: Address) -> Result<Self, String> {
        // rustls panics unless a provider is installed. A second installation fails, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (certificates, tls) = certificates(&address)?;
        let mut first = Vec::new();
        let plain_too = address.master_tls == Some(true);
        for url in urls(&address.urls) {
            first.push(info(url, certificates.as_ref(), plain_too)?);
        }
        let Some(mut form) = first.first().map(|info| info.addr().clone()) else {
            return Err("bad Redis URL: there is none".into());
        };
        match (&address.mode, address.master_tls) {
            (_, None) => {}
            (Deployment::Sentinel(_), Some(true)) => {
                form = info(MASTER_WITH_TLS, certificates.as_ref(), false)?.addr().clone();
            }
            (Deployment::Sentinel(_), Some(false)) => form = ConnectionAddr::Tcp(String::new(), 0),
            _ => {
                return Err("--redis-master-tls is for sentinels: in other modes, choose redis:// or rediss://".into());
            }
        }
        let tls = match form {
            ConnectionAddr::TcpTls { .. } => Some(Arc::new(tls.config(&address)?)),
            _ => None,
        };
        let tcp = first.iter().all(|info| !matches!(info.addr(), ConnectionAddr::Unix(_)));
        match address.mode {
            Deployment::Single if first.len() > 1 => {
                return Err("several Redis URLs: if they are sentinels or nodes of a cluster, see --redis-mode".into());
            }
            Deployment::Sentinel(_) | Deployment::Cluster if !tcp => {
                return Err("bad Redis URL: sentinels and clusters are not behind a Unix socket".into());
            }
            _ => {}
        }
        let mut settings = first[0].redis_settings().clone();
        if address.mode == Deployment::Cluster {
            settings = cluster_settings(&first)?;
        }
        if let Deployment::Sentinel(_) = address.mode {
            // User and password of the URL are those of the sentinels.
            settings = library_settings(RedisConnectionInfo::default()).set_db(settings.db());
            for info in &mut first {
                let mut own = info.redis_settings().clone().set_db(0);
                if let Some(password) = &address.sentinel_password {
                    own = own.set_password(password);
                }
                *info = info.clone().set_redis_settings(own);
            }
        }
        if let Some(username) = &address.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &address.password {
            settings = settings.set_password(password);
        }
        if !matches!(address.mode, Deployment::Sentinel(_)) {
            for info in &mut first {
                *info = info.clone().set_redis_settings(settings.clone());
            }
        }
        Ok(Self {
            mode: address.mode,
            first,
            settings,
            form,
            tls,
        })
    }

    /// How to connect to a server that has sessions, at `HOST:PORT`.
    pub(crate) fn at(&self, address: &str) -> ConnectionInfo {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let (new_host, new_port) = (host.to_owned(), port.parse().unwrap_or(6379));
        let addr = match &self.form {
            ConnectionAddr::TcpTls {
                insecure, tls_params, ..
            } => ConnectionAddr::TcpTls {
                host: new_host,
                port: new_port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(new_host, new_port),
        };
        self.first[0]
            .clone()
            .set_addr(addr)
            .set_redis_settings(self.settings.clone())
    }

    /// `HOST:PORT` of the servers of the URLs.
    pub(crate) fn seeds(&self) -> Vec<String> {
        let addresses = self.first.iter().filter_map(|info| match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(format!("{host}:{port}"))
            }
            _ => None,
        });
        addresses.collect()
    }
}

/// User and password of a cluster, from the URLs that have any. All nodes must have the same, and all or none TLS.
fn cluster_settings(seeds: &[ConnectionInfo]) -> Result<RedisConnectionInfo, String> {
    let form = |seed: &ConnectionInfo| match seed.addr() {
        ConnectionAddr::TcpTls { insecure, .. } => Some(*insecure),
        _ => None,
    };
    if seeds.iter().any(|seed| form(seed) != form(&seeds[0])) {
        return Err("bad Redis URL: the nodes of a cluster are all redis:// or all rediss://".into());
    }
    if seeds.iter().any(|seed| seed.redis_settings().db() != 0) {
        return Err("bad Redis URL: a cluster has only database 0".into());
    }
    let named = |settings: &RedisConnectionInfo| {
        let text = |text: Option<&str>| text.map(str::to_owned);
        (text(settings.username()), text(settings.password()))
    };
    let mut chosen = seeds[0].redis_settings();
    for settings in seeds.iter().map(ConnectionInfo::redis_settings) {
        if named(chosen) == (None, None) {
            chosen = settings;
        } else if ![(None, None), named(chosen)].contains(&named(settings)) {
            return Err("bad Redis URL: all nodes of a cluster have the same user and password".into());
        }
    }
    Ok(chosen.clone())
}
