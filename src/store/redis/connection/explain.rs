//! Why no connection could be made, in the words of the log: to where, which addresses were tried, and what to do about it.

use std::{io, net::IpAddr};

use deadpool_redis::redis::RedisError;

use crate::store::redis::{connection::happy_eyeballs::Tried, error::reason};

/// What was tried, and how.
pub(crate) struct Attempt<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

impl Attempt<'_> {
    /// To where, and how.
    pub(crate) fn target(&self) -> String {
        let (host, port) = (self.host, self.port);
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let how = if self.tls { "with TLS" } else { "without TLS" };
        format!("{host}:{port} {how}")
    }

    /// An error that says what was tried.
    pub(crate) fn error(&self, why: &str) -> RedisError {
        io::Error::other(format!("cannot connect to {}: {why}", self.target())).into()
    }

    /// The error after all addresses have failed.
    pub(crate) fn failed(&self, tried: Vec<Tried>) -> RedisError {
        let only = tried.len() == 1;
        let whys = tried.into_iter().map(|(address, error)| {
            let why = error.map_or_else(|| "no answer in time".to_owned(), |error| self.explain(&error));
            // The address of a literal address says nothing new.
            if only && address.ip().to_string() == self.host {
                return why;
            }
            format!("{}: {why}", address.ip())
        });
        let whys: Vec<_> = whys.collect();
        if whys.is_empty() {
            return self.error("the name has no address");
        }
        self.error(&whys.join("; "))
    }

    /// An error in words, with what it hints at.
    pub(crate) fn explain(&self, error: &RedisError) -> String {
        let why = reason(error);
        if why.contains("certificate not valid for name") && self.host.parse::<IpAddr>().is_ok() {
            return format!(
                "{why}; where sentinels or nodes announce this IP address, have them announce host names: see \
                 announce-hostnames and resolve-hostnames of sentinels, cluster-announce-hostname of nodes"
            );
        }
        if why.contains("InvalidContentType") {
            return format!("{why}: what answers speaks no TLS, see redis:// and --redis-master-tls");
        }
        if !self.tls && ended(error) {
            return format!("{why}: if it speaks TLS, see rediss:// and --redis-master-tls");
        }
        why
    }
}

/// Whether the other end has ended the connection.
pub(crate) fn ended(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_told() {
        let error = |kind: io::ErrorKind| Some(RedisError::from(io::Error::from(kind)));
        let plain = Attempt {
            host: "redis.test",
            port: 6379,
            tls: false,
        };
        let tried = vec![
            ("127.0.0.1:6379".parse().unwrap(), None),
            ("[::1]:6379".parse().unwrap(), error(io::ErrorKind::ConnectionRefused)),
        ];
        let told = reason(&plain.failed(tried));
        assert_eq!(
            told,
            "cannot connect to redis.test:6379 without TLS: 127.0.0.1: no answer in time; ::1: connection refused"
        );
        let literal = Attempt {
            host: "::1",
            port: 7000,
            tls: false,
        };
        let tried = vec![("[::1]:7000".parse().unwrap(), error(io::ErrorKind::UnexpectedEof))];
        let told = reason(&literal.failed(tried));
        assert!(
            told.starts_with("cannot connect to [::1]:7000 without TLS: unexpected end of file: "),
            "{told}"
        );
        assert!(told.ends_with("see rediss:// and --redis-master-tls"), "{told}");
        assert!(reason(&plain.failed(Vec::new())).ends_with("the name has no address"));
    }
}
