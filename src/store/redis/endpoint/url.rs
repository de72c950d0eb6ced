//! Redis URLs: splits a list of them, parses each and says what is wrong without quoting secrets.

use deadpool_redis::redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError,
    TlsCertificates, io::tcp::TcpSettings,
};

use crate::store::redis::{
    connection::socket::{USER_TIMEOUT, keepalive},
    endpoint::certificates::unusable,
};

/// A URL that stands for a master with TLS.
pub(super) const MASTER_WITH_TLS: &str = "rediss://master";

/// The URLs of a list. A comma separates only if another URL follows it: any other may be part of a password.
pub(super) fn urls(list: &str) -> impl Iterator<Item = &str> {
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

/// A hint for the operator on what may be wrong in a URL.
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

/// Parses a URL. `plain_too`: certificates may be given although this server does not speak TLS.
pub(super) fn info(
    url: &str,
    certificates: Option<&TlsCertificates>,
    plain_too: bool,
) -> Result<ConnectionInfo, String> {
    let bad = |error: RedisError| format!("bad Redis URL: {}{}", description(&error), hint(url));
    let mut info = url.into_connection_info().map_err(bad)?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        return Err(
            "bad Redis URL: #insecure is refused, as the certificate of the server is always checked; see --redis-ca"
                .into(),
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
            .map_err(|error| unusable(description(&error)))?
            .get_connection_info()
            .clone();
    }
    let settings = library_settings(info.redis_settings().clone());
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp_settings()))
}

/// The TCP settings of the client library's connections, the same as those of the pipelined ones.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive());
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(USER_TIMEOUT);
    settings
}

/// Settings of the client library's connections. Why RESP3: with it the library reports the end of a connection. Why no
/// library name: setting it would be one more permission that the user of Redis needs.
pub(super) fn library_settings(settings: RedisConnectionInfo) -> RedisConnectionInfo {
    settings.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name()
}

/// The error of the client library about a URL, without any part of the URL.
fn description(error: &RedisError) -> String {
    let text = error.to_string();
    text.split(" - ").next().unwrap_or_default().to_owned()
}
