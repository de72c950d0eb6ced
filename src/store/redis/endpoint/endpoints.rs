//! From what the operator says to where and how to connect.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use deadpool_redis::redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisError, TlsCertificates, io::tcp::TcpSettings,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::store::redis::{
    connection::socket::{USER_TIMEOUT, keepalive},
    endpoint::address::{Address, Deployment},
};

/// Where and how to connect.
pub(crate) struct Endpoints {
    pub(crate) mode: Deployment,
    /// Those of the URLs.
    pub(crate) first: Vec<ConnectionInfo>,
    /// User, password and database of the servers that have the sessions.
    settings: RedisConnectionInfo,
    /// The form of the address of servers that others tell of: TLS and certificates.
    form: ConnectionAddr,
    /// How connections are secured, if they are.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Endpoints {
    /// Fails with one line, free of secrets, if this makes no sense.
    pub(crate) fn new(address: Address) -> Result<Self, String> {
        // rustls has several providers of cryptography, and panics unless one is chosen; a second choice is refused, which is
        // as good.
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
            (Deployment::Sentinel(_), Some(true)) => form = info(MASTER, certificates.as_ref(), false)?.addr().clone(),
            (Deployment::Sentinel(_), Some(false)) => form = ConnectionAddr::Tcp(String::new(), 0),
            _ => return Err("--redis-master-tls is for sentinels: elsewhere redis:// or rediss:// says it".into()),
        }
        let tls = match form {
            ConnectionAddr::TcpTls { .. } => Some(Arc::new(tls.config(&address)?)),
            _ => None,
        };
        let tcp = first.iter().all(|info| !matches!(info.addr(), ConnectionAddr::Unix(_)));
        match address.mode {
            Deployment::Single if first.len() > 1 => {
                return Err("several Redis URLs: are they sentinels, or nodes of a cluster? See --redis-mode".into());
            }
            Deployment::Sentinel(_) | Deployment::Cluster if !tcp => {
                return Err("bad Redis URL: sentinels and clusters are not behind a Unix socket".into());
            }
            _ => {}
        }
        let mut settings = first[0].redis_settings().clone();
        if address.mode == Deployment::Cluster {
            settings = of_all_nodes(&first)?;
        }
        if let Deployment::Sentinel(_) = address.mode {
            // What the URL says of user and password is for the sentinels.
            settings = ours(RedisConnectionInfo::default()).set_db(settings.db());
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

    /// `HOST:PORT` of those in the URLs.
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

/// User and password of a cluster: those of the URLs that name any. All nodes are reached in one way.
fn of_all_nodes(seeds: &[ConnectionInfo]) -> Result<RedisConnectionInfo, String> {
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

/// RESP3 is what lets the reader of a connection say that it has ended. Telling the server our library's name would be one
/// more right that a user has to have.
fn ours(settings: RedisConnectionInfo) -> RedisConnectionInfo {
    settings.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name()
}

/// For the form of its address.
const MASTER: &str = "rediss://master";

/// The URLs of a list. Only a comma with another URL behind it separates: any other may be part of a password.
fn urls(list: &str) -> impl Iterator<Item = &str> {
    let begins = |text: &str| {
        let scheme = text.trim_start().split_once("://").map(|(scheme, _)| scheme);
        scheme
            .is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+'))
    };
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut commas = text.match_indices(',').map(|(at, _)| at);
        let end = commas.find(|at| {
            let next = text[at + 1..].trim_start();
            next.is_empty() || next.starts_with(',') || begins(next)
        });
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
    .map(str::trim)
    .filter(|url| !url.is_empty())
}

/// What to look at in a URL that makes no sense.
fn hint(url: &str) -> &'static str {
    match url.rsplit_once('@') {
        Some((_, rest)) if !rest.contains(',') => {
            "; in a user or password, write , as %2C, / as %2F, ? as %3F, # as %23, @ as %40 and % as %25"
        }
        _ if url.contains(',') => {
            "; where there are several, each begins with redis:// or rediss://, and a comma that separates none is %2C"
        }
        _ => "",
    }
}

/// Reads a URL. `plain_too`: there may be certificates although this server speaks no TLS.
fn info(url: &str, certificates: Option<&TlsCertificates>, plain_too: bool) -> Result<ConnectionInfo, String> {
    let bad = |error: RedisError| format!("bad Redis URL: {}{}", description(&error), hint(url));
    let mut info = url.into_connection_info().map_err(bad)?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        return Err(
            "bad Redis URL: whoever answers has to have a certificate that can be checked, see --redis-ca".into(),
        );
    }
    if info.redis_settings().db() < 0 {
        return Err("bad Redis URL: the number of a database is 0 or more".into());
    }
    let secured = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    if let Some(certificates) = certificates.filter(|_| secured || !plain_too) {
        if !secured {
            return Err("bad Redis URL: certificates are for rediss:// only".into());
        }
        let client = Client::build_with_tls(info, certificates.clone());
        info = client
            .map_err(|error| no_use(description(&error)))?
            .get_connection_info()
            .clone();
    }
    let settings = ours(info.redis_settings().clone());
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp_settings()))
}

/// The settings of the client library's connections, the same as those of our own.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive());
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(USER_TIMEOUT);
    settings
}

/// What connections are secured with.
struct Tls {
    /// Who signs the servers' certificates; the system's authorities if there are none.
    authorities: RootCertStore,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Tls {
    /// Fails if no connection could ever be made with it.
    fn config(mut self, address: &Address) -> Result<ClientConfig, String> {
        if self.authorities.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            self.authorities.add_parsable_certificates(found.certs);
        }
        let config = ClientConfig::builder().with_root_certificates(self.authorities);
        let (Some((chain, secret)), Some((certificate, key))) = (self.identity, &address.identity) else {
            return Ok(config.with_no_client_auth());
        };
        config.with_client_auth_cert(chain, secret).map_err(|error| {
            let (certificate, key) = (certificate.display(), key.display());
            match error {
                rustls::Error::InconsistentKeys(_) => no_use(format_args!("{key} is not the key of {certificate}")),
                error => no_use(format_args!("{certificate} with {key}: {error}")),
            }
        })
    }
}

/// What is in the files with certificates, for the client library, if any is named, and for ourselves.
fn certificates(address: &Address) -> Result<(Option<TlsCertificates>, Tls), String> {
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).and_then(crate::text::file::decoded);
        bytes.map_err(|cause| format!("cannot read {}: {cause}", path.display()))
    };
    let mut authorities = RootCertStore::empty();
    let root_cert = address.ca.as_ref().map(read).transpose()?;
    if let (Some(path), Some(pem)) = (&address.ca, &root_cert) {
        for authority in chain(path, pem)? {
            authorities
                .add(authority)
                .map_err(|error| no_use(format_args!("{}: {error}", path.display())))?;
        }
    }
    let (mut client_tls, mut identity) = (None, None);
    if let Some((certificate, key)) = &address.identity {
        let (client_cert, client_key) = (read(certificate)?, read(key)?);
        let chain = chain(certificate, &client_cert)?;
        let secret = PrivateKeyDer::from_pem_slice(&client_key);
        let secret = secret.map_err(|_| no_use(format_args!("{} holds no plain private key", key.display())))?;
        identity = Some((chain, secret));
        client_tls = Some(ClientTlsConfig {
            client_cert,
            client_key,
        });
    }
    let any = root_cert.is_some() || client_tls.is_some();
    let library = any.then_some(TlsCertificates { client_tls, root_cert });
    Ok((library, Tls { authorities, identity }))
}

/// The certificates in a file, at least one.
fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(no_use(format_args!("{} holds no certificate in PEM", path.display()))),
    }
}

fn no_use(why: impl fmt::Display) -> String {
    format!("the certificates or the key for Redis are of no use: {why}")
}

/// What the client library has against a URL, without any part of it.
fn description(error: &RedisError) -> String {
    let text = error.to_string();
    text.split(" - ").next().unwrap_or_default().to_owned()
}
