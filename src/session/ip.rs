//! The address that a session was created from.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use serde::Serialize;

use super::Invalid;

/// The visitor's address: any text of 1–39 characters, or a valid IP address, also IPv6 with a zone id.
///
/// Proxies often report `address:port` or `[address]:port`; parsing drops the port.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Ip(Arc<str>);

impl Ip {
    /// Fails with [`Invalid::Missing`] or [`Invalid::Format`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::Missing("ip"));
        }
        let text = without_port(text);
        let fits = text.chars().count() <= 39 || text.parse::<IpAddr>().is_ok() || zoned(text);
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::Format("ip"))
        }
    }

    /// An address that a store holds. It was checked when it was created.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Drops the port of `address:port` and `[address]:port`, and the brackets of `[address]`; keeps any other text. An IPv6
/// address without brackets keeps its last group: `::1:8080` is an address.
fn without_port(text: &str) -> &str {
    let port = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok();
    if let Some((address, after)) = text.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) {
        let v6 = address.parse::<Ipv6Addr>().is_ok() || zoned(address);
        let only_port = after.is_empty() || after.strip_prefix(':').is_some_and(port);
        return if v6 && only_port { address } else { text };
    }
    match text.rsplit_once(':') {
        Some((address, after)) if port(after) && address.parse::<Ipv4Addr>().is_ok() => address,
        _ => text,
    }
}

/// Whether the text is an IPv6 address with a zone id (RFC 4007, section 11), such as `fe80::1%eth0`.
fn zoned(text: &str) -> bool {
    // Far above the limits of Linux (15) and Windows for the name of an interface.
    const LONGEST: usize = 64;
    text.split_once('%').is_some_and(|(address, zone)| {
        let named = (1..=LONGEST).contains(&zone.chars().count()) && !zone.contains(['[', ']', '%', '/']);
        named && address.parse::<Ipv6Addr>().is_ok()
    })
}

impl fmt::Debug for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ip(…)")
    }
}
