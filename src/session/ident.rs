//! The names in a request: app, token, id, ip, and the two spans of time.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use serde::Serialize;

use super::Invalid;
use super::Seconds;

/// Shortest `ttl` and `dt`, in seconds.
const MIN_SECONDS: Seconds = 10;
/// Longest `ttl` and `dt`, in seconds: what a signed 32-bit client still holds.
const MAX_SECONDS: Seconds = 2_147_483_647;

/// The application that a session belongs to: 3–20 characters of `[A-Za-z0-9_-]`.
///
/// Kept inline, so that looking a session up allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct App {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl App {
    /// Length of the longest name, in bytes.
    pub(crate) const MAX: usize = 20;

    /// Fails with `invalidFormat`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let valid = (3..=Self::MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !valid {
            return Err(Invalid::Format("app"));
        }
        let mut bytes = [0; Self::MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self {
            bytes,
            len: text.len().to_le_bytes()[0],
        })
    }

    /// The name as text.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "parse lets only ASCII in")]
    pub fn as_str(&self) -> &str {
        let name = &self.bytes[..usize::from(self.len)];
        std::str::from_utf8(name).expect("parse lets only ASCII in")
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The secret that names a session: 64 characters of `[A-Za-z0-9]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token([u8; Self::LEN]);

impl Token {
    /// Length in characters, and in bytes.
    pub const LEN: usize = 64;
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    /// Fails with `invalidFormat`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let bytes: [u8; Self::LEN] = text.as_bytes().try_into().map_err(|_| Invalid::Format("token"))?;
        // All of them, rather than up to the first that is wrong: that is a few instructions for many at once.
        if bytes.iter().fold(true, |valid, b| valid & b.is_ascii_alphanumeric()) {
            Ok(Self(bytes))
        } else {
            Err(Invalid::Format("token"))
        }
    }

    /// Draws a new token: 64 × log2(62) = 381 bits from `fill`, the operating system's generator.
    ///
    /// `None` if that generator fails.
    pub fn generate(fill: impl Fn(&mut [u8]) -> bool) -> Option<Self> {
        // Bytes from 248 on would favour the first letters; 96 bytes hold 64 good ones nearly always.
        const FAIR: u8 = 248;
        let mut token = [0; Self::LEN];
        let mut filled = 0;
        while filled < Self::LEN {
            let mut random = [0; 96];
            if !fill(&mut random) {
                return None;
            }
            let fair = random.iter().filter(|b| **b < FAIR);
            for (slot, byte) in token[filled..].iter_mut().zip(fair) {
                *slot = Self::ALPHABET[usize::from(byte % 62)];
                filled += 1;
            }
        }
        Some(Self(token))
    }

    /// The same token, but with the number of a shard at its beginning, in two hexadecimal digits. 369 random bits are
    /// left.
    #[must_use]
    pub(crate) fn in_shard(mut self, shard: usize) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0[0] = DIGITS[shard / 16 % 16];
        self.0[1] = DIGITS[shard % 16];
        self
    }

    /// The shard that [`Token::in_shard`] has written; `None` if it cannot have been.
    #[must_use]
    pub(crate) fn shard(&self) -> Option<usize> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(usize::from(byte - b'0')),
            b'a'..=b'f' => Some(usize::from(byte - b'a') + 10),
            _ => None,
        };
        Some(digit(self.0[0])? * 16 + digit(self.0[1])?)
    }

    /// In which of so many even ranges of all tokens, in their order, this one is.
    #[must_use]
    pub(crate) fn range(&self, ranges: usize) -> usize {
        let rank = |byte: u8| match byte {
            b'0'..=b'9' => usize::from(byte - b'0'),
            b'A'..=b'Z' => usize::from(byte - b'A') + 10,
            _ => usize::from(byte - b'a') + 36,
        };
        (rank(self.0[0]) * 62 + rank(self.0[1])) * ranges / (62 * 62)
    }

    /// The token as text. It is a secret: it belongs in an answer or a key, nowhere else.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "parse and generate let only ASCII in")]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("parse and generate let only ASCII in")
    }

    /// The token as the bytes of its text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl Hash for Token {
    /// A quarter of it tells tokens apart as well as the whole: 95 random bits are here, and 41 in the tokens of
    /// redis-sessions, which end in the time. The beginning may be a shard's number.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0[Self::LEN - 16..]);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

/// Whose session it is: 1–255 characters, none of them a control character or a line break.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Fails with `invalidFormat`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let line_break = |c| c == '\u{2028}' || c == '\u{2029}';
        let valid = (1..=255).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || line_break(c));
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::Format("id"))
        }
    }

    /// An id as a store holds it. What is stored was checked when it came in, here or by a Redis peer with other rules.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserId(…)")
    }
}

/// Where a session was created from: 1–39 characters, or any valid IP address, an IPv6 address with a zone id too.
///
/// Proxies and servers often give `address:port` or `[address]:port` for the visitor's address; the port is dropped.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Ip(Arc<str>);

impl Ip {
    /// Fails with `missingParameter` or `invalidFormat`.
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

    /// An ip as a store holds it; see [`UserId::stored`].
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The ip as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The address of `address:port`, `[address]:port` or `[address]`; any other text as it is. An IPv6 address without
/// brackets keeps its last group: `::1:8080` is an address.
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

/// Whether a text is an IPv6 address with a zone id (RFC 4007, 11), as `fe80::1%eth0`.
fn zoned(text: &str) -> bool {
    // Far more than Linux (15) and Windows allow for the name of an interface.
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

/// Parses a span of time in seconds, 10 … 2147483647, in decimal digits only.
///
/// Fails with `invalidValue`, naming the parameter.
pub fn seconds(name: &str, text: &str) -> Result<Seconds, Invalid> {
    Some(text)
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|seconds| (MIN_SECONDS..=MAX_SECONDS).contains(seconds))
        .ok_or_else(|| Invalid::Value(format!("{name} must be a positive integer >= 10")))
}

/// Parses the most sessions of a list, 1 … 2147483647, in decimal digits only.
///
/// Fails with `invalidValue`.
pub fn limit(text: &str) -> Result<usize, Invalid> {
    Some(text)
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|limit| (1..=2_147_483_647).contains(limit))
        .ok_or_else(|| Invalid::Value("limit must be a positive integer".into()))
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn ranges_of_tokens_are_in_their_order_and_even() {
        let mut letters = *Token::ALPHABET;
        letters.sort_unstable();
        let token = |first, second| {
            let mut token = Token(*b"0000000000000000000000000000000000000000000000000000000000000000");
            token.0[..2].copy_from_slice(&[first, second]);
            token
        };
        let tokens = letters
            .iter()
            .flat_map(|first| letters.map(|second| token(*first, second)));
        let tokens: Vec<_> = tokens.collect();
        for count in [64, 256] {
            let ranges: Vec<_> = tokens.iter().map(|token| token.range(count)).collect();
            assert!(ranges.is_sorted());
            for range in 0..count {
                let size = ranges.iter().filter(|other| **other == range).count();
                let even = tokens.len() / count;
                assert!((even..=even + 1).contains(&size), "{size} tokens in {range} of {count}");
            }
        }
    }
}
